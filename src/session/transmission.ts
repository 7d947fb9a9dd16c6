import { unreachable } from '../base/assert.js';
import { type Errno, OK, WOULD_BLOCK } from '../base/errno.js';
import { MIB } from '../base/units.js';
import { Command, CommandFlag, MAX_UNAGREED_PAYLOAD_BYTES, NbdError } from '../protocol/constants.js';
import { type Request, requestFor } from '../protocol/request.js';
import { decodeStatusPayload } from '../protocol/status-payload.js';
import { type BrokenRule, type RequestTerms, validateRequest } from '../protocol/validate-request.js';
import { toNbdError, wireErrorText } from '../protocol/wire-error.js';
import type { BlockDevice } from '../storage/device/block-device.js';
import { type Agreement, requestTerms, type SelectedContext } from './agreement.js';
import { blockStatusOf, namedContexts } from './block-status.js';
import { CLIENT_DISCONNECTED } from './close-reason.js';
import type { Phase } from './link.js';
import { trimInParts, zeroInParts } from './long-change.js';
import type { MemoryAccount, MemoryClaim } from './memory-budget.js';
import { readNow, readWaiting } from './read.js';
import type { ReceiveBuffer } from './receive-buffer.js';
import type { Recorder } from './recorder.js';
import { type Content, Replies } from './replies.js';
import type { ReplyWriter } from './reply-writer.js';
import { type WaitingRequest, WaitingRequests } from './waiting-requests.js';

/** A larger payload that has to wait stays in the receive buffer, whose memory is already claimed. */
const MAX_COPIED_BYTES = MIB;

const WRONG_CONTEXTS: BrokenRule = {
  error: NbdError.EINVAL,
  sentence: 'the payload names a context twice, or one that is not selected',
};

export interface TransmissionEvents {
  /** A request that had to wait is finished. */
  onProgress(): void;
  /** A request threw an unexpected error, and has no reply. */
  onBug(bug: unknown): void;
  /** A request was refused. The record is reused afterwards. */
  onRefused(request: Request, rule: BrokenRule): void;
  /** Tells what became of each request; undefined while nobody wants to know. The record is reused afterwards. */
  readonly trace: ((request: Request, errno: Errno, milliseconds: number) => void) | undefined;
  /** Whether the connection is being ended from elsewhere, so that a long change is not completed. */
  isGivenUp(): boolean;
}

/** What a request that has to wait does with the device. Resolves to an error number, or to content for the client. */
type Work = (request: Request) => Promise<Errno | Content>;

/**
 * The transmission phase of one connection. One pass over the bytes of a socket read parses every request, serves it at
 * once if the device can, and sends all replies together. A request that has to wait is answered when it is done, so
 * replies can be out of order, as the protocol allows.
 */
export class Transmission implements Phase {
  /** Why the connection ends; undefined while requests are served. */
  closeReason: string | undefined;
  /** The next request has arrived but has to wait for memory. */
  lacksMemory = false;
  private readonly device: BlockDevice;
  private readonly replies: Replies;
  private readonly terms: RequestTerms;
  /** The request that is being served. */
  private readonly request: Request;
  private readonly headerBytes: number;
  /** A longer payload cannot be skipped in a reasonable time. Other headers have no room for longer ones. */
  private readonly maxSkippedBytes: number;
  private readonly waiting = new WaitingRequests();
  /** As in `events`, for this pass. */
  private trace: TransmissionEvents['trace'];
  /** When the request began that is traced. */
  private tracedAt = 0;

  constructor(
    private readonly agreement: Agreement,
    private readonly writer: ReplyWriter,
    private readonly memory: Pick<MemoryAccount, 'claim'>,
    private readonly events: TransmissionEvents,
    private readonly recorder: Recorder,
  ) {
    this.device = agreement.export.device;
    this.replies = new Replies(writer, agreement.replies);
    this.terms = requestTerms(agreement);
    this.request = requestFor(agreement.replies);
    this.headerBytes = this.request.headerBytes;
    this.maxSkippedBytes = agreement.replies === 'extended' ? MAX_UNAGREED_PAYLOAD_BYTES : 2 ** 32;
  }

  /** True when every request in flight has been answered. */
  get idle(): boolean {
    return this.waiting.isEmpty;
  }

  /** False while the client has to read its replies, or wait for its disk, before its next request is served. */
  get canBegin(): boolean {
    return this.writer.hasRoom && !this.waiting.isFull;
  }

  /** Consumes and answers the whole requests that have arrived. */
  consume(input: ReceiveBuffer): void {
    this.lacksMemory = false;
    if (this.canConsume(input)) {
      this.recorder.begin();
      this.trace = this.events.trace;
      while (this.step(input) && this.canConsume(input));
    }
    this.writer.flush();
    this.recorder.settle();
  }

  private canConsume(input: ReceiveBuffer): boolean {
    return this.closeReason === undefined && this.canBegin && input.has(this.headerBytes);
  }

  /** Consumes one request; false while its payload is incomplete or there is no memory for it. */
  private step(input: ReceiveBuffer): boolean {
    const { request } = this;
    if (!request.parse(input.buffer, input.start)) {
      this.closeReason = 'sent something that is not a request';
      return false;
    }
    const { payloadBytes } = request;
    const messageBytes = this.headerBytes + payloadBytes;
    const rule = validateRequest(request, this.device.sizeBytes, this.terms);
    if (rule) {
      if (payloadBytes > this.maxSkippedBytes) {
        this.closeReason = `sent a payload of ${payloadBytes} bytes`;
        return false;
      }
      this.refuse(request, rule);
      input.skip(messageBytes);
      return true;
    }
    if (!input.has(messageBytes)) return false;
    if (this.trace) this.tracedAt = performance.now();
    this.lacksMemory = !this.serve(request, input);
    if (this.lacksMemory) return false;
    this.recorder.accepted();
    input.consume(messageBytes);
    return true;
  }

  /** Serves a valid request, now or later. Returns false if nothing was done because there is no memory for it. */
  private serve(request: Request, input: ReceiveBuffer): boolean {
    const { device, events } = this;
    switch (request.command) {
      case Command.READ:
        return this.read(request);
      case Command.WRITE:
        return this.write(request, input);
      case Command.FLUSH:
        return this.later(request, () => device.flush());
      case Command.CACHE:
        return this.change(request, ({ offset, length }) => device.cache(offset, length));
      case Command.TRIM:
        return this.change(request, (change) => this.durable(change, trimInParts(device, change, events.isGivenUp)));
      case Command.WRITE_ZEROES:
        return this.change(request, (change) => this.durable(change, zeroInParts(device, change, events.isGivenUp)));
      case Command.BLOCK_STATUS:
        return this.blockStatus(request, input);
      case Command.DISC:
        this.closeReason = CLIENT_DISCONNECTED;
        this.trace?.(request, OK, 0);
        return true;
      default:
        return unreachable(request.command);
    }
  }

  private read(request: Request): boolean {
    const errno = readNow(this.replies, this.device, request);
    if (errno === WOULD_BLOCK) return this.readLater(request);
    this.endAtOnce(request, errno);
    if (errno !== OK) return true;
    // Send a full piece while it is still in the CPU cache.
    if (this.writer.filledCount > 0) this.writer.flush();
    // The reply has left, here or with pages of the disk.
    if (this.writer.used === 0) this.recorder.settle();
    return true;
  }

  private readLater(request: Request): boolean {
    const memory = this.memory.claim(request.length);
    if (!memory) return false;
    return this.later(request, (read) => readWaiting(this.replies, this.device, read), memory);
  }

  private write(request: Request, input: ReceiveBuffer): boolean {
    const payloadAt = input.start + this.headerBytes;
    const errno = this.device.writeNow(input.buffer, payloadAt, request.length, request.offset);
    if (errno === WOULD_BLOCK) return this.writeLater(request, input, payloadAt);
    if (errno === OK && wantsDurability(request)) return this.later(request, () => this.device.flush());
    this.endAtOnce(request, errno);
    if (errno === OK) this.replies.done(request);
    return true;
  }

  private writeLater(request: Request, input: ReceiveBuffer, payloadAt: number): boolean {
    const { length } = request;
    // To claim memory for a copy while holding the buffer could make two such writes wait for each other.
    const keepsBuffer = length > MAX_COPIED_BYTES;
    const memory = keepsBuffer ? input.giveAway() : this.memory.claim(length);
    if (!memory) return false;
    // The next request reuses the receive buffer, so a payload that has to wait elsewhere is copied.
    const payload = input.buffer.subarray(payloadAt, payloadAt + length);
    const source = keepsBuffer ? payload : Buffer.from(payload);
    const write: Work = (one) => this.durable(one, this.device.write(source, 0, one.length, one.offset));
    return this.later(request, write, memory);
  }

  /** Serves a request whose range may be empty. Then there is nothing to do. */
  private change(request: Request, work: Work): true {
    if (request.length > 0) return this.later(request, work);
    this.endAtOnce(request, OK);
    this.replies.done(request);
    return true;
  }

  private blockStatus(request: Request, input: ReceiveBuffer): true {
    const { contexts, export: served } = this.agreement;
    const asked = request.payloadBytes === 0 ? contexts : this.takeStatusPayload(request, input);
    if (!asked) return true;
    const question = { contexts: asked, minBlockBytes: served.minBlockBytes };
    return this.later(request, (one) => blockStatusOf(this.replies, question, one));
  }

  /** The contexts that a block-status request names; undefined when the request was refused. */
  private takeStatusPayload(request: Request, input: ReceiveBuffer): readonly SelectedContext[] | undefined {
    const payloadAt = input.start + this.headerBytes;
    const payload = input.buffer.subarray(payloadAt, payloadAt + request.payloadBytes);
    const { length, contextIds } = decodeStatusPayload(payload);
    // From here on, the record is like that of a request without payload.
    request.payloadBytes = 0;
    request.length = length;
    const named = namedContexts(this.agreement.contexts, contextIds);
    const rule = named ? validateRequest(request, this.device.sizeBytes, this.terms) : WRONG_CONTEXTS;
    if (!rule) return named;
    this.refuse(request, rule);
    return undefined;
  }

  /** Waits for a change. With FUA, it then flushes the device, so that the change is durable before it is answered. */
  private async durable(request: Request, change: Promise<Errno>): Promise<Errno> {
    const errno = await change;
    return errno === OK && wantsDurability(request) ? this.device.flush() : errno;
  }

  /** Begins the work of a request, which is answered when that is done. Always returns true. */
  private later(request: Request, work: Work, memory?: MemoryClaim): true {
    const waiting = this.waiting.admit(request, this.recorder.startedAt, memory);
    this.recorder.waiting(this.waiting.count);
    void this.answer(waiting, work);
    return true;
  }

  private async answer(request: WaitingRequest, work: Work): Promise<void> {
    try {
      const told = await work(request);
      // Before a client that has its reply can ask, in another thread, what has been counted.
      const errno = typeof told === 'number' ? told : OK;
      this.end(request, errno);
      if (told === OK) this.replies.done(request);
      else if (typeof told !== 'number') for (const message of told) this.writer.send(message);
      this.writer.flush();
      const milliseconds = this.recorder.servedLater(request.command, request.startedAt);
      this.events.trace?.(request, errno, milliseconds);
    } catch (bug) {
      this.events.onBug(bug);
    }
    request.release();
    this.recorder.waiting(this.waiting.count);
    this.events.onProgress();
  }

  private refuse(request: Request, rule: BrokenRule): void {
    this.recorder.refused(request.command);
    this.replies.error(request, rule.error, rule.sentence);
    this.events.onRefused(request, rule);
  }

  /** Accounts for a request that is served in this pass. As `end`. */
  private endAtOnce(request: Request, errno: Errno): void {
    this.recorder.servedAtOnce(request.command);
    this.trace?.(request, errno, performance.now() - this.tracedAt);
    this.end(request, errno);
  }

  /** Accounts for a request whose work is done, and reports an error of the device. */
  private end(request: Request, errno: Errno): void {
    const { command, offset, length } = request;
    if (errno === OK) {
      this.recorder.succeeded(command, command === Command.BLOCK_STATUS ? 0 : length, offset + length);
      return;
    }
    this.recorder.failed(command);
    const error = toNbdError(errno);
    this.replies.error(request, error, wireErrorText(error));
  }
}

function wantsDurability({ flags }: Request): boolean {
  return (flags & CommandFlag.FUA) !== 0;
}

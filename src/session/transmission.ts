import { type Errno, OK, WOULD_BLOCK } from '../base/errno.js';
import { MIB } from '../base/units.js';
import type { BlockDevice } from '../export/served-disk.js';
import {
  Command,
  CommandFlag,
  MAX_PAYLOAD_BYTES,
  MAX_UNAGREED_PAYLOAD_BYTES,
  NbdError,
  REQUEST_MAGIC,
} from '../protocol/constants.js';
import type { Cookie } from '../protocol/reply-codec.js';
import {
  REQUEST_BYTES,
  REQUEST_COMMAND_AT,
  REQUEST_COOKIE_AT,
  REQUEST_FLAGS_AT,
  REQUEST_LENGTH_AT,
  REQUEST_OFFSET_AT,
  type RequestRules,
  readUInt64,
  validateRequest,
} from '../protocol/request.js';
import { toNbdError } from '../protocol/wire-error.js';
import type { Agreement } from './agreement.js';
import { replyBlockStatus } from './block-status.js';
import type { MemoryAccount } from './memory-budget.js';
import { readNow, readWaiting } from './read.js';
import { replyDone, replyError } from './reply.js';
import type { ReplyWriter } from './reply-writer.js';

/** Requests of one client that may wait for a disk at a time, and the payload bytes they may hold. */
const MAX_WAITING_REQUESTS = 128;
const MAX_WAITING_BYTES = 32 * MIB;
/** The same of block-status requests: an answer takes a while to put together, and is some 100 KiB long. */
const MAX_WAITING_STATUS = 2;

/** A larger payload that has to wait stays in the receive buffer, which is replaced; it has been paid for already. */
const MAX_COPIED_BYTES = MIB;

const COOKIE_BYTES = 8;

export interface TransmissionEvents {
  /** A request that had to wait is done with. */
  onProgress(): void;
  /** It failed in a way that nobody foresaw, and has no reply. */
  onBug(bug: unknown): void;
}

/**
 * The transmission phase of one connection. One pass over what a socket read brought parses every request, serves each
 * at once when the device can, and sends all replies together. A request that has to wait leaves the pass and is
 * answered when it is done; replies may overtake one another, as the protocol allows.
 */
export class Transmission {
  requests = 0;
  failedRequests = 0;
  bytesRead = 0;
  bytesWritten = 0;
  /** Bytes that the next request has at least. */
  neededBytes = REQUEST_BYTES;
  /** Why no further request is served; undefined while they are. */
  closeReason: string | undefined;
  /** The next request is there and has to wait for memory. */
  lacksMemory = false;
  /** The last pass left a payload where it is, and with it the buffer. */
  tookBuffer = false;
  private readonly device: BlockDevice;
  private readonly structured: boolean;
  private readonly rules: RequestRules;
  private waitingRequests = 0;
  private waitingBytes = 0;
  private waitingStatus = 0;
  /** Payload of a refused write that still has to pass by. */
  private skipBytes = 0;

  constructor(
    private readonly agreement: Agreement,
    private readonly writer: ReplyWriter,
    private readonly memory: Pick<MemoryAccount, 'claim' | 'add'>,
    private readonly events: TransmissionEvents,
  ) {
    this.device = agreement.export.device;
    this.structured = agreement.structuredReplies;
    this.rules = {
      readOnly: agreement.export.readOnly,
      structuredReplies: agreement.structuredReplies,
      maxPayloadBytes: agreement.enforceBlockSize ? MAX_PAYLOAD_BYTES : MAX_UNAGREED_PAYLOAD_BYTES,
      blockBytes: agreement.enforceBlockSize ? agreement.export.minBlockBytes : 1,
      hasContexts: agreement.contexts.length > 0,
    };
  }

  /** True when every request that was begun has been answered. */
  get idle(): boolean {
    return this.waitingRequests === 0;
  }

  /** False while the client must wait for its replies, or its disk, to come along. */
  get canBegin(): boolean {
    return (
      this.writer.hasRoom &&
      this.waitingRequests < MAX_WAITING_REQUESTS &&
      this.waitingBytes < MAX_WAITING_BYTES &&
      this.waitingStatus < MAX_WAITING_STATUS
    );
  }

  /** Consumes whole requests from `buffer`, from `start` to `end`, and answers them. Returns where it stopped. */
  consume(buffer: Buffer, start: number, end: number): number {
    let at = start;
    this.neededBytes = REQUEST_BYTES;
    this.lacksMemory = false;
    this.tookBuffer = false;
    while (this.closeReason === undefined) {
      if (this.skipBytes > 0) {
        const skipped = Math.min(this.skipBytes, end - at);
        at += skipped;
        this.skipBytes -= skipped;
      }
      if (end - at < REQUEST_BYTES || !this.canBegin) break;
      const next = this.step(buffer, at, end);
      if (next === at) break;
      at = next;
    }
    this.writer.flush();
    return at;
  }

  /** Consumes the request at `at`, or nothing when its payload is not there as a whole. */
  private step(buffer: Buffer, at: number, end: number): number {
    if (buffer.readUInt32BE(at) !== REQUEST_MAGIC) {
      this.closeReason = 'sent something that is no request';
      return at;
    }
    const flags = buffer.readUInt16BE(at + REQUEST_FLAGS_AT);
    const command = buffer.readUInt16BE(at + REQUEST_COMMAND_AT);
    const offset = readUInt64(buffer, at + REQUEST_OFFSET_AT);
    const length = buffer.readUInt32BE(at + REQUEST_LENGTH_AT);
    const payloadAt = at + REQUEST_BYTES;
    const payloadBytes = command === Command.WRITE ? length : 0;

    const error = validateRequest(command, flags, offset, length, this.device.sizeBytes, this.rules);
    if (error !== NbdError.NONE) {
      this.refuse({ buffer, at: at + REQUEST_COOKIE_AT }, error);
      this.skipBytes = payloadBytes;
      return payloadAt;
    }
    if (end - payloadAt < payloadBytes) {
      this.neededBytes = REQUEST_BYTES + payloadBytes;
      return at;
    }
    if (command === Command.READ) this.read(buffer, at + REQUEST_COOKIE_AT, flags, offset, length);
    else if (command === Command.WRITE) this.write(buffer, at, flags, offset, length);
    else this.serveOther(buffer, at + REQUEST_COOKIE_AT, command, flags, offset, length);
    if (this.lacksMemory) {
      this.neededBytes = REQUEST_BYTES + payloadBytes;
      return at;
    }
    this.requests++;
    return payloadAt + payloadBytes;
  }

  private read(buffer: Buffer, cookieAt: number, flags: number, offset: number, length: number): void {
    const errno = readNow(this.writer, this.device, this.structured, flags, buffer, cookieAt, offset, length);
    if (errno === WOULD_BLOCK) {
      this.readLater(buffer, cookieAt, offset, length);
      return;
    }
    this.bytesRead += length;
    if (errno !== OK) this.fail({ buffer, at: cookieAt }, errno);
    // A full piece is worth a write of its own, while it is in the CPU's cache.
    else if (this.writer.filledCount > 0) this.writer.flush();
  }

  private readLater(buffer: Buffer, cookieAt: number, offset: number, length: number): void {
    this.lacksMemory = !this.memory.claim(length);
    if (this.lacksMemory) return;
    this.bytesRead += length;
    const cookie = copyCookie(buffer, cookieAt);
    const reading = readWaiting(this.writer, this.device, this.structured, cookie, offset, length);
    void this.await(reading, cookie, length, true);
  }

  private write(buffer: Buffer, at: number, flags: number, offset: number, length: number): void {
    const payloadAt = at + REQUEST_BYTES;
    const cookieAt = at + REQUEST_COOKIE_AT;
    const errno = this.device.writeNow(buffer, payloadAt, length, offset);
    if (errno === WOULD_BLOCK) {
      this.writeLater(buffer, at, flags, offset, length);
      return;
    }
    this.bytesWritten += length;
    if (errno !== OK) {
      this.fail({ buffer, at: cookieAt }, errno);
    } else if ((flags & CommandFlag.FUA) !== 0) {
      void this.await(this.device.flush(), copyCookie(buffer, cookieAt), 0, false);
    } else {
      replyDone(this.writer, this.structured, buffer, cookieAt);
    }
  }

  private writeLater(buffer: Buffer, at: number, flags: number, offset: number, length: number): void {
    const payloadAt = at + REQUEST_BYTES;
    const cookie = copyCookie(buffer, at + REQUEST_COOKIE_AT);
    if (length > MAX_COPIED_BYTES) {
      // To claim a copy while holding the buffer could make two such writes wait for each other.
      this.tookBuffer = true;
      this.memory.add(buffer.length);
      this.bytesWritten += length;
      const writing = this.durable(flags, this.device.write(buffer, payloadAt, length, offset));
      void this.await(writing, cookie, length, false, buffer.length);
      return;
    }
    this.lacksMemory = !this.memory.claim(length);
    if (this.lacksMemory) return;
    this.bytesWritten += length;
    // The receive buffer goes on to the next request, so a payload that has to wait is copied.
    const payload = Buffer.from(buffer.subarray(payloadAt, payloadAt + length));
    void this.await(this.durable(flags, this.device.write(payload, 0, length, offset)), cookie, length, false);
  }

  /** Every command whose device call returns a promise. */
  private serveOther(
    buffer: Buffer,
    cookieAt: number,
    command: number,
    flags: number,
    offset: number,
    length: number,
  ): void {
    if (command === Command.DISC) {
      this.closeReason = 'the client disconnected';
      return;
    }
    const cookie = copyCookie(buffer, cookieAt);
    if (command === Command.BLOCK_STATUS) {
      void this.await(this.blockStatus(cookie, flags, offset, length), cookie, 0, true);
    } else if (command !== Command.FLUSH && length === 0) {
      replyDone(this.writer, this.structured, cookie, 0);
    } else {
      void this.await(this.change(command, flags, offset, length), cookie, 0, false);
    }
  }

  private async blockStatus(cookie: Buffer, flags: number, offset: number, length: number): Promise<Errno> {
    const { contexts, export: served } = this.agreement;
    this.waitingStatus++;
    try {
      const question = { flags, offset, length, minBlockBytes: served.minBlockBytes };
      return await replyBlockStatus(this.writer, contexts, { buffer: cookie, at: 0 }, question);
    } finally {
      this.waitingStatus--;
    }
  }

  private change(command: number, flags: number, offset: number, length: number): Promise<Errno> {
    const { device } = this;
    switch (command) {
      case Command.FLUSH:
        return device.flush();
      case Command.CACHE:
        return device.cache(offset, length);
      case Command.TRIM:
        return this.durable(flags, device.trim(offset, length));
      default:
        return this.durable(
          flags,
          device.zero(offset, length, {
            keepAllocated: (flags & CommandFlag.NO_HOLE) !== 0,
            fastOnly: (flags & CommandFlag.FAST_ZERO) !== 0,
          }),
        );
    }
  }

  /** With FUA, the change and then what makes it durable. */
  private async durable(flags: number, change: Promise<Errno>): Promise<Errno> {
    const errno = await change;
    return errno === OK && (flags & CommandFlag.FUA) !== 0 ? this.device.flush() : errno;
  }

  /** Lets a request go on by itself. `repliesItself`: on success its reply is already put. */
  private async await(
    work: Promise<Errno>,
    cookie: Buffer,
    bytes: number,
    repliesItself: boolean,
    heldBytes = bytes,
  ): Promise<void> {
    this.waitingRequests++;
    this.waitingBytes += bytes;
    try {
      const errno = await work;
      if (errno !== OK) this.fail({ buffer: cookie, at: 0 }, errno);
      else if (!repliesItself) replyDone(this.writer, this.structured, cookie, 0);
      this.writer.flush();
    } catch (bug) {
      this.events.onBug(bug);
    }
    this.waitingRequests--;
    this.waitingBytes -= bytes;
    this.memory.add(-heldBytes);
    this.events.onProgress();
  }

  private fail(cookie: Cookie, errno: Errno): void {
    this.refuse(cookie, toNbdError(errno));
  }

  private refuse(cookie: Cookie, error: NbdError): void {
    this.failedRequests++;
    replyError(this.writer, this.structured, cookie, error);
  }
}

function copyCookie(buffer: Buffer, at: number): Buffer {
  return Buffer.from(buffer.subarray(at, at + COOKIE_BYTES));
}

import { type Errno, OK, WOULD_BLOCK } from '../base/errno.js';
import { MIB } from '../base/units.js';
import type { BlockDevice } from '../export/served-disk.js';
import { Command, CommandFlag, NbdError, REQUEST_MAGIC } from '../protocol/constants.js';
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
import { type Agreement, requestRules } from './agreement.js';
import { replyBlockStatus } from './block-status.js';
import { durable, executeChange } from './change.js';
import type { MemoryAccount } from './memory-budget.js';
import { readNow, readWaiting } from './read.js';
import { replyDone, replyError } from './reply.js';
import type { ReplyWriter } from './reply-writer.js';

/** How many requests of one client can wait for a disk at the same time, and how many payload bytes they can hold. */
const MAX_WAITING_REQUESTS = 128;
const MAX_WAITING_BYTES = 32 * MIB;
/** The limit for block-status requests is lower: an answer takes a while to compute, and is about 100 KiB long. */
const MAX_WAITING_STATUS = 2;

/** A larger payload that has to wait stays in the receive buffer, whose memory is already claimed. */
const MAX_COPIED_BYTES = MIB;

const COOKIE_BYTES = 8;

export interface TransmissionEvents {
  /** A request that had to wait is finished. */
  onProgress(): void;
  /** A request threw an unexpected error, and has no reply. */
  onBug(bug: unknown): void;
}

/**
 * The transmission phase of one connection. One pass over the bytes of a socket read parses every request, serves it at
 * once if the device can, and sends all replies together. A request that has to wait is answered when it is done, so
 * replies can be out of order, as the protocol allows.
 */
export class Transmission {
  requests = 0;
  failedRequests = 0;
  bytesRead = 0;
  bytesWritten = 0;
  /** The least number of bytes in the next request. */
  neededBytes = REQUEST_BYTES;
  /** Why the connection ends; undefined while requests are served. */
  closeReason: string | undefined;
  /** The next request has arrived but has to wait for memory. */
  lacksMemory = false;
  /** A write of the last pass keeps the receive buffer, because its payload stays there. */
  tookBuffer = false;
  private readonly device: BlockDevice;
  private readonly structured: boolean;
  private readonly rules: RequestRules;
  private waitingRequests = 0;
  private waitingBytes = 0;
  private waitingStatus = 0;
  /** Remaining payload of a refused write: it is skipped. */
  private skipBytes = 0;

  constructor(
    private readonly agreement: Agreement,
    private readonly writer: ReplyWriter,
    private readonly memory: Pick<MemoryAccount, 'claim' | 'add'>,
    private readonly events: TransmissionEvents,
  ) {
    this.device = agreement.export.device;
    this.structured = agreement.structuredReplies;
    this.rules = requestRules(agreement);
  }

  /** True when every request in flight has been answered. */
  get idle(): boolean {
    return this.waitingRequests === 0;
  }

  /** False while the client has to read its replies, or wait for its disk, before its next request is served. */
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

  /** Consumes the request at `at`, or nothing while its payload is incomplete. */
  private step(buffer: Buffer, at: number, end: number): number {
    if (buffer.readUInt32BE(at) !== REQUEST_MAGIC) {
      this.closeReason = 'sent something that is not a request';
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
    // Send a full piece while it is still in the CPU cache.
    else if (this.writer.filledCount > 0) this.writer.flush();
  }

  private readLater(buffer: Buffer, cookieAt: number, offset: number, length: number): void {
    this.lacksMemory = !this.memory.claim(length);
    if (this.lacksMemory) return;
    this.bytesRead += length;
    const cookie = copyCookie(buffer, cookieAt);
    const reading = readWaiting(this.writer, this.device, this.structured, cookie, offset, length);
    void this.answerLater(reading, cookie, length, true);
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
      void this.answerLater(this.device.flush(), copyCookie(buffer, cookieAt), 0, false);
    } else {
      replyDone(this.writer, this.structured, buffer, cookieAt);
    }
  }

  private writeLater(buffer: Buffer, at: number, flags: number, offset: number, length: number): void {
    const payloadAt = at + REQUEST_BYTES;
    const cookie = copyCookie(buffer, at + REQUEST_COOKIE_AT);
    if (length > MAX_COPIED_BYTES) {
      // To claim memory for a copy while holding the buffer could make two such writes wait for each other.
      this.tookBuffer = true;
      this.memory.add(buffer.length);
      this.bytesWritten += length;
      const writing = durable(this.device, flags, this.device.write(buffer, payloadAt, length, offset));
      void this.answerLater(writing, cookie, length, false, buffer.length);
      return;
    }
    this.lacksMemory = !this.memory.claim(length);
    if (this.lacksMemory) return;
    this.bytesWritten += length;
    // The next request reuses the receive buffer, so a payload that has to wait is copied.
    const payload = Buffer.from(buffer.subarray(payloadAt, payloadAt + length));
    void this.answerLater(
      durable(this.device, flags, this.device.write(payload, 0, length, offset)),
      cookie,
      length,
      false,
    );
  }

  /** Serves every command other than READ and WRITE. Their device calls return promises. */
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
      void this.answerLater(this.blockStatus(cookie, flags, offset, length), cookie, 0, true);
    } else if (command !== Command.FLUSH && length === 0) {
      replyDone(this.writer, this.structured, cookie, 0);
    } else {
      void this.answerLater(executeChange(this.device, command, flags, offset, length), cookie, 0, false);
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

  /** Answers a request when its work is done. `repliesItself`: the work sends the reply of a success itself. */
  private async answerLater(
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

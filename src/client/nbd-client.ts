import { assert } from '../base/assert.js';
import { formatCount } from '../base/units.js';
import type { Posix } from '../posix/posix-calls.js';
import { type BlockSizes, encodeRequest, encodeStatusPayload, type RequestHeader } from '../protocol/client-codec.js';
import { Command, CommandFlag } from '../protocol/constants.js';
import { type StatusWindow, walkBlockStatus } from './block-status-walk.js';
import { DetachedConnection } from './detached-connection.js';
import { NbdConnectionError, NbdUnsupportedError } from './errors.js';
import { type ExportFeatures, readFeatures } from './export-features.js';
import type { NbdStream } from './nbd-stream.js';
import { type NbdTarget, resolveTarget } from './nbd-uri.js';
import { type NbdWaitOptions, negotiate } from './negotiate.js';
import { type PendingRequest, PlainRequest } from './pending-request.js';
import { ReadRequest } from './read-request.js';
import { takeReplies } from './reply-dialogue.js';
import { RequestTable } from './request-table.js';
import { type OpenedExport, openExport } from './select-export.js';
import { type BlockStatus, StatusRequest } from './status-request.js';

export interface NbdConnectOptions extends NbdWaitOptions {
  /** Metadata contexts to select, by exact name. `contexts` of the client has those that the server knows. */
  readonly contexts?: readonly string[];
}

export interface ChangeOptions {
  /** Wait until the change is durable. */
  readonly fua?: boolean;
}

export interface ZeroOptions extends ChangeOptions {
  /** Keep the range allocated. */
  readonly noHole?: boolean;
  /** Fail with ENOTSUP if zeroing is not faster than writing. */
  readonly fast?: boolean;
}

export interface BlockStatusOptions {
  /** Ask for only one extent for each context. */
  readonly reqOne?: boolean;
  /** Ask only for these of the selected contexts. A server that cannot choose reports on all. */
  readonly contexts?: readonly string[];
}

/**
 * One connection to one export. Any number of requests can be in flight at the same time. Buffers are not copied: a
 * buffer belongs to the client until its request has settled.
 *
 * A request rejects with NbdRemoteError when the server answers with an error; the connection stays open. When the
 * connection is lost, every request rejects with NbdConnectionError or NbdProtocolError. A range outside the export, or
 * a payload above `blockSizes.maximum`, is a bug of the caller (BugError).
 */
export class NbdClient {
  readonly sizeBytes: number;
  readonly features: ExportFeatures;
  readonly blockSizes: BlockSizes;
  /** Names of the contexts that `blockStatus` reports on. */
  readonly contexts: readonly string[];
  /** The longest range of a request without payload, in bytes: whole preferred blocks. */
  readonly maxRangeBytes: number;
  private readonly requests: RequestTable;
  private disconnecting = false;

  private constructor(
    private readonly stream: NbdStream,
    private readonly opened: OpenedExport,
  ) {
    this.sizeBytes = opened.sizeBytes;
    this.features = readFeatures(opened.flags);
    this.blockSizes = opened.blockSizes;
    this.contexts = [...opened.contexts.values()];
    const countable = opened.replies === 'extended' ? 2 ** 53 : 2 ** 32;
    this.maxRangeBytes = countable - opened.blockSizes.preferred;
    this.requests = new RequestTable((owed) => stream.expectAnswer(owed));
    stream.expectAnswer(false);
    stream
      .converse(takeReplies(this.requests, opened.replies))
      .catch((error: Error) => this.requests.abandonAll(error));
  }

  /** `target` may be an NBD URI. @throws NbdClientError, or CodedError TLS_UNUSABLE for files that do not work */
  static async connect(target: NbdTarget | string, options: NbdConnectOptions = {}): Promise<NbdClient> {
    const resolved = resolveTarget(target);
    const { stream, outcome } = await negotiate(resolved, options, (send, greeting) =>
      openExport(send, greeting, resolved.exportName, options.contexts ?? []),
    );
    return new NbdClient(stream, outcome);
  }

  /** Reads into the beginning of `into`, or into a new buffer. Resolves to exactly the bytes that were read. */
  async read(offset: number, length: number, into?: Buffer): Promise<Buffer> {
    this.checkPayload(offset, length);
    const target = into ? into.subarray(0, length) : Buffer.allocUnsafeSlow(length);
    assert(target.length === length, 'the buffer has room for what is read');
    return this.request(
      { command: Command.READ, flags: 0, offset, length },
      new ReadRequest(offset, length, () => target),
    );
  }

  async write(offset: number, data: Buffer, { fua = false }: ChangeOptions = {}): Promise<void> {
    this.checkPayload(offset, data.length);
    this.need('change the export', !this.features.readOnly);
    const request = new PlainRequest(`to write ${formatCount(data.length, 'byte')} at ${offset}`);
    const header = { command: Command.WRITE, flags: this.fuaFlag(fua), offset, length: data.length };
    await this.request(header, request, data);
  }

  /** Makes the range read as zeroes. */
  async zero(
    offset: number,
    length: number,
    { fua = false, noHole = false, fast = false }: ZeroOptions = {},
  ): Promise<void> {
    this.checkRange(offset, length);
    this.need('change the export', !this.features.readOnly);
    this.need('zero', this.features.zero);
    this.need('zero fast', this.features.fastZero || !fast);
    const flags = this.fuaFlag(fua) | (noHole ? CommandFlag.NO_HOLE : 0) | (fast ? CommandFlag.FAST_ZERO : 0);
    const request = new PlainRequest(`to zero ${formatCount(length, 'byte')} at ${offset}`);
    await this.request({ command: Command.WRITE_ZEROES, flags, offset, length }, request);
  }

  /** Tells the server that the contents of the range are no longer needed. */
  async trim(offset: number, length: number, { fua = false }: ChangeOptions = {}): Promise<void> {
    this.checkRange(offset, length);
    this.need('change the export', !this.features.readOnly);
    this.need('trim', this.features.trim);
    const request = new PlainRequest(`to trim ${formatCount(length, 'byte')} at ${offset}`);
    await this.request({ command: Command.TRIM, flags: this.fuaFlag(fua), offset, length }, request);
  }

  /** Makes every change durable that has been answered so far. */
  async flush(): Promise<void> {
    this.need('flush', this.features.flush);
    await this.request({ command: Command.FLUSH, flags: 0, offset: 0, length: 0 }, new PlainRequest('to flush'));
  }

  /** Tells the server that the range will be read soon. */
  async cache(offset: number, length: number): Promise<void> {
    this.checkRange(offset, length);
    this.need('cache', this.features.cache);
    const request = new PlainRequest(`to cache ${formatCount(length, 'byte')} at ${offset}`);
    await this.request({ command: Command.CACHE, flags: 0, offset, length }, request);
  }

  /**
   * The extents of every selected context from `offset` on. The server may report less than was asked for, or more, and
   * a different length for each context.
   */
  async blockStatus(
    offset: number,
    length: number,
    { reqOne = false, contexts = this.contexts }: BlockStatusOptions = {},
  ): Promise<BlockStatus> {
    this.checkRange(offset, length);
    assert(this.contexts.length > 0, 'a context was selected');
    const range = { offset, length, requestOne: reqOne, sizeBytes: this.sizeBytes };
    const chosen = [...this.opened.contexts].filter(([, name]) => contexts.includes(name));
    const flags = reqOne ? CommandFlag.REQ_ONE : 0;
    const header = { command: Command.BLOCK_STATUS, flags, offset, length };
    const isPart = chosen.length > 0 && chosen.length < this.contexts.length;
    if (!isPart || !this.features.blockStatusPayload) {
      return this.request(header, new StatusRequest(range, this.opened.contexts));
    }
    const payload = encodeStatusPayload(
      length,
      chosen.map(([id]) => id),
    );
    const partly = { ...header, flags: flags | CommandFlag.PAYLOAD_LEN, length: payload.length };
    return this.request(partly, new StatusRequest(range, new Map(chosen)), payload);
  }

  /**
   * The status of a range of any size, in windows that have the same length in all contexts. `contexts` is as for
   * `blockStatus`.
   */
  extents(offset = 0, length = this.sizeBytes - offset, contexts = this.contexts): AsyncGenerator<StatusWindow> {
    return walkBlockStatus(this, offset, length, contexts);
  }

  /** Waits for requests in flight, tells the server that the client disconnects, and closes the connection. */
  async disconnect(): Promise<void> {
    this.disconnecting = true;
    await this.requests.settled();
    if (!this.stream.failure) {
      this.stream.send(this.encode({ command: Command.DISC, flags: 0, cookie: 0, offset: 0, length: 0 }));
    }
    await this.stream.end();
  }

  /**
   * Takes the connection off the event loop, for a thread. Undefined if that is not possible: then the client can be used
   * as before. Waits for the requests in flight; the caller makes no more.
   */
  async detach(posix: Posix): Promise<DetachedConnection | undefined> {
    await this.requests.settled();
    assert(this.requests.size === 0, 'no request is in flight');
    const socket = await this.stream.detach(posix);
    return socket && new DetachedConnection({ ...socket, replies: this.opened.replies });
  }

  /** Closes the connection at once. Requests in flight reject. */
  abort(): void {
    this.stream.giveUp();
  }

  private request<Result>(
    header: Omit<RequestHeader, 'cookie'>,
    request: PendingRequest<Result>,
    payload?: Buffer,
  ): Promise<Result> {
    if (this.stream.failure) throw this.stream.failure;
    if (this.disconnecting) throw new NbdConnectionError('the connection to the NBD server is being closed');
    const cookie = this.requests.add(request);
    this.stream.send(this.encode({ ...header, cookie }), ...(payload ? [payload] : []));
    return request.settled;
  }

  private encode(header: RequestHeader): Buffer {
    return encodeRequest(header, this.opened.replies);
  }

  private checkRange(offset: number, length: number): void {
    const inside = offset >= 0 && length > 0 && length <= this.sizeBytes - offset;
    assert(
      inside && length <= this.maxRangeBytes,
      `${length} bytes at ${offset} lie inside the export and fit one request`,
    );
  }

  private checkPayload(offset: number, length: number): void {
    this.checkRange(offset, length);
    assert(length <= this.blockSizes.maximum, `${length} bytes fit the largest payload of the server`);
  }

  private fuaFlag(fua: boolean): number {
    if (fua) this.need('write through', this.features.fua);
    return fua ? CommandFlag.FUA : 0;
  }

  private need(what: string, offered: boolean): void {
    if (!offered) throw new NbdUnsupportedError(`the server does not offer to ${what}`);
  }
}

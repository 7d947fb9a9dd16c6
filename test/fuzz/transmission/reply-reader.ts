import { Command, REPLY_FLAG_DONE, ReplyChunk } from '../../../src/protocol/constants.js';
import type { FuzzSocket } from '../fuzz-socket.js';
import { expectThat } from '../target.js';
import type { DiskModel } from './disk-model.js';
import type { PlannedClient, PlannedRequest } from './plan.js';
import { StatusChecker } from './status-checker.js';
import { describe, type Wave } from './wave.js';

const SIMPLE_MAGIC = 0x67446698;
const CHUNK_MAGIC = 0x668e33ef;
const SIMPLE_BYTES = 16;
const CHUNK_BYTES = 20;
const EXTENDED_MAGIC = 0x6e8a278c;
const EXTENDED_BYTES = 32;
const MAX_ERROR_BYTES = 6 + 4096;

/** Reads the replies to the requests of a wave, and checks each against the protocol document and the model. */
export class ReplyReader {
  /** The bytes of each read that have arrived, by the index of the request. */
  private received = new Map<number, number>();
  private readonly status: StatusChecker;

  constructor(
    private readonly socket: FuzzSocket,
    private readonly client: PlannedClient,
    contexts: ReadonlyMap<number, string>,
    private readonly model: DiskModel | undefined,
    isFrozen: () => boolean,
  ) {
    this.status = new StatusChecker(contexts, model, isFrozen);
  }

  /** Reads until all replies have arrived. False if the server ends the connection before that. */
  async takeAll(wave: Wave): Promise<boolean> {
    this.received = new Map();
    while (wave.unanswered > 0) {
      if (this.takeOne(wave)) continue;
      if (this.socket.over) return false;
      await this.socket.more();
    }
    return true;
  }

  private get statusType(): number {
    return this.client.extended ? ReplyChunk.BLOCK_STATUS_EXT : ReplyChunk.BLOCK_STATUS;
  }

  private takeOne(wave: Wave): boolean {
    const { buffer, start, available } = this.socket;
    if (available < SIMPLE_BYTES) return false;
    const magic = buffer.readUInt32BE(start);
    const index = buffer.readUInt32BE(start + 12);
    const { structured, extended } = this.client;
    if (magic === SIMPLE_MAGIC && !extended) return this.takeSimple(wave, index);
    const isChunk = structured && magic === (extended ? EXTENDED_MAGIC : CHUNK_MAGIC);
    expectThat(isChunk, () => `0x${magic.toString(16)} stands where a reply begins`);
    const headBytes = extended ? EXTENDED_BYTES : CHUNK_BYTES;
    if (available < headBytes) return false;
    const length = extended ? Number(buffer.readBigUInt64BE(start + 24)) : buffer.readUInt32BE(start + 16);
    const request = wave.find(buffer.readUInt32BE(start + 8), index);
    const isOffset = !extended || buffer.readBigUInt64BE(start + 16) === request.offset;
    expectThat(isOffset, () => `another offset answers ${describe(request)}`);
    expectThat(length <= longestChunk(request), () => `a chunk of ${length} bytes answers ${describe(request)}`);
    if (available < headBytes + length) return false;
    const head = this.socket.take(headBytes);
    const [flags, type] = [head.readUInt16BE(4), head.readUInt16BE(6)];
    this.takeChunk(wave, index, type, (flags & REPLY_FLAG_DONE) !== 0, this.socket.take(length));
    if ((flags & REPLY_FLAG_DONE) !== 0) this.finish(wave, index);
    return true;
  }

  private takeSimple(wave: Wave, index: number): boolean {
    const { buffer, start, available } = this.socket;
    const error = buffer.readUInt32BE(start + 4);
    const request = wave.find(buffer.readUInt32BE(start + 8), index);
    const isRead = request.command === Command.READ;
    expectThat(!(this.client.structured && isRead), () => `${describe(request)} has a simple reply`);
    const dataBytes = isRead && error === 0 ? request.length : 0;
    if (available < SIMPLE_BYTES + dataBytes) return false;
    this.socket.take(SIMPLE_BYTES);
    const data = this.socket.take(dataBytes);
    if (dataBytes > 0) this.model?.compare(Number(request.offset), data);
    if (error !== 0) wave.fail(index, error);
    wave.finish(index);
    return true;
  }

  private takeChunk(wave: Wave, index: number, type: number, done: boolean, payload: Buffer): void {
    const request = wave.requests[index]!;
    const isRead = request.command === Command.READ;
    if (type === ReplyChunk.NONE) {
      expectThat(done && payload.length === 0, () => 'an empty chunk is not the last, or not empty');
    } else if (type === ReplyChunk.OFFSET_DATA && isRead) {
      expectThat(payload.length > 8, () => 'a data chunk is empty');
      this.takeData(index, request, Number(payload.readBigUInt64BE(0)), payload.subarray(8));
    } else if (type === ReplyChunk.OFFSET_HOLE && isRead) {
      expectThat(payload.length === 12, () => `a hole chunk has ${payload.length} bytes`);
      const length = payload.readUInt32BE(8);
      expectThat(length > 0 && length <= request.length, () => `a hole has ${length} bytes`);
      this.takeData(index, request, Number(payload.readBigUInt64BE(0)), Buffer.alloc(length));
    } else if (type === this.statusType && request.command === Command.BLOCK_STATUS) {
      this.status.take(index, request, payload, this.client.extended);
    } else {
      expectThat(type === ReplyChunk.ERROR || type === ReplyChunk.ERROR_OFFSET, () => `a chunk has type ${type}`);
      expectThat(payload.length >= 6 && payload.length >= 6 + payload.readUInt16BE(4), () => 'an error chunk is short');
      wave.fail(index, payload.readUInt32BE(0));
    }
  }

  private takeData(index: number, request: PlannedRequest, offset: number, data: Buffer): void {
    const start = Number(request.offset);
    const isInside = offset >= start && offset + data.length <= start + request.length;
    expectThat(isInside, () => `${data.length} bytes at ${offset} answer ${describe(request)}`);
    this.received.set(index, (this.received.get(index) ?? 0) + data.length);
    this.model?.compare(offset, data);
  }

  private finish(wave: Wave, index: number): void {
    const request = wave.requests[index]!;
    const succeeded = wave.errors[index] === undefined;
    if (succeeded && request.command === Command.READ) {
      const received = this.received.get(index) ?? 0;
      expectThat(received === request.length, () => `${received} bytes answer ${describe(request)}`);
    }
    if (succeeded && request.command === Command.BLOCK_STATUS) {
      this.status.finish(index, request, wave.chosenContexts(request));
    }
    wave.finish(index);
  }
}

function longestChunk({ command, length }: PlannedRequest): number {
  if (command === Command.READ) return Math.max(length + 8, MAX_ERROR_BYTES);
  return command === Command.BLOCK_STATUS ? 8 + 16 * 2 ** 20 : MAX_ERROR_BYTES;
}

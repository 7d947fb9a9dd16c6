import type { Socket } from 'node:net';
import { Command, CommandFlag, Option, OptionReply, TransmissionFlag } from '../../../src/protocol/constants.js';
import { Random } from '../../support/random.js';
import { u16, u32, u64 } from '../../support/raw-client.js';
import {
  chunk,
  dataChunk,
  extendedChunk,
  extendedStatusChunk,
  optionReply,
  simpleReply,
  statusChunk,
} from '../../support/server-messages.js';
import { mutate } from '../odd-values.js';
import { CLIENT_DISK_BYTES, type ClientPlan } from './client-plan.js';

const OPTION_BYTES = 16;
const REQUEST_BYTES = 28;
const EXTENDED_BYTES = 32;
const UNSUPPORTED = 2 ** 31 + 1;
const { HAS_FLAGS, SEND_FLUSH, SEND_FUA, SEND_TRIM, SEND_WRITE_ZEROES, SEND_CACHE, BLOCK_STATUS_PAYLOAD } =
  TransmissionFlag;
const FLAGS = HAS_FLAGS | SEND_FLUSH | SEND_FUA | SEND_TRIM | SEND_WRITE_ZEROES | SEND_CACHE;

/** The content of this server's disk there. */
export function contentAt(offset: number, length: number): Buffer {
  const start = offset % PATTERN_BYTES;
  return pattern.subarray(start, start + length);
}

const PATTERN_BYTES = 251;
const pattern = Buffer.alloc(CLIENT_DISK_BYTES, Buffer.from(Array.from({ length: PATTERN_BYTES }, (_, i) => i)));

/**
 * The server's end of a connection. It answers as a correct server does, except for one message, after which it ends.
 */
export class LyingServer {
  private readonly random: Random;
  private input = Buffer.alloc(0);
  private phase: 'flags' | 'options' | 'transmission' = 'flags';
  private messages = 0;
  private lied = false;

  constructor(
    private readonly socket: Socket,
    private readonly plan: ClientPlan,
  ) {
    this.random = new Random(plan.seed);
    socket.on('error', () => {}).on('data', (data: Buffer) => this.take(data));
    this.say(Buffer.concat([Buffer.from('NBDMAGICIHAVEOPT'), u16(3)]));
  }

  private say(message: Buffer): void {
    const isLie = this.messages++ === this.plan.spoiled;
    this.socket.write(isLie && this.plan.lie === 'change' ? mutate(this.random, message) : message);
    // In the middle of a handshake it is unknown what the client is waiting for.
    if (isLie && this.phase !== 'transmission') this.socket.end();
    this.lied ||= isLie;
  }

  private take(data: Buffer): void {
    if (this.lied && this.phase !== 'transmission') return;
    this.input = Buffer.concat([this.input, data]);
    this.socket.cork();
    for (let used = this.step(); used > 0 && !this.socket.writableEnded; used = this.step()) {
      this.input = this.input.subarray(used);
    }
    this.socket.uncork();
    if (this.lied && !this.socket.writableEnded) this.socket.end();
  }

  /** Answers one message. Returns its length, or 0 if it has not arrived entirely. */
  private step(): number {
    const { input } = this;
    if (this.phase === 'flags') {
      if (input.length < 4) return 0;
      this.phase = 'options';
      return 4;
    }
    const isOption = this.phase === 'options';
    if (input.length < (isOption ? OPTION_BYTES : this.requestBytes)) return 0;
    if (!isOption) return this.stepRequest();
    const dataBytes = input.readUInt32BE(12);
    if (input.length < OPTION_BYTES + dataBytes) return 0;
    this.answerOption(input.readUInt32BE(8));
    return OPTION_BYTES + dataBytes;
  }

  private stepRequest(): number {
    const { input, requestBytes } = this;
    const { extended } = this.plan;
    const [flags, command, cookie] = [input.readUInt16BE(4), input.readUInt16BE(6), input.readBigUInt64BE(8)];
    const length = extended ? Number(input.readBigUInt64BE(24)) : input.readUInt32BE(24);
    const hasPayload = extended ? (flags & CommandFlag.PAYLOAD_LEN) !== 0 : command === Command.WRITE;
    const messageBytes = requestBytes + (hasPayload ? length : 0);
    if (input.length < messageBytes) return 0;
    const offset = Number(input.readBigUInt64BE(16));
    if (command === Command.DISC) this.socket.end();
    else if (command !== Command.BLOCK_STATUS) this.say(this.reply(command, cookie, offset, length));
    else if (!hasPayload) this.say(this.status(flags, cookie, length, [1, 2]));
    else {
      const ids = Array.from({ length: (length - 8) / 4 }, (_, i) => input.readUInt32BE(requestBytes + 8 + 4 * i));
      this.say(this.status(flags, cookie, Number(input.readBigUInt64BE(requestBytes)), ids));
    }
    return messageBytes;
  }

  private get requestBytes(): number {
    return this.plan.extended ? EXTENDED_BYTES : REQUEST_BYTES;
  }

  private answerOption(option: number): void {
    const ack = optionReply(option, OptionReply.ACK);
    if (option === Option.EXTENDED_HEADERS) this.say(this.plan.extended ? ack : optionReply(option, UNSUPPORTED));
    else if (option === Option.STRUCTURED_REPLY)
      this.say(this.plan.structured ? ack : optionReply(option, UNSUPPORTED));
    else if (option === Option.SET_META_CONTEXT) {
      const contexts = ['base:allocation', 'qemu:dirty-bitmap:nightly'].map((name, i) =>
        optionReply(option, OptionReply.META_CONTEXT, Buffer.concat([u32(i + 1), Buffer.from(name)])),
      );
      this.say(Buffer.concat([...contexts, ack]));
    } else if (option === Option.GO) {
      const info = Buffer.concat([u16(0), u64(CLIENT_DISK_BYTES), u16(this.flags)]);
      const sizes = Buffer.concat([u16(3), u32(1), u32(4096), u32(2 ** 25)]);
      const infos = [sizes, info].map((data) => optionReply(option, OptionReply.INFO, data));
      this.say(Buffer.concat([...infos, ack]));
      if (!this.lied) this.phase = 'transmission';
    } else this.socket.end();
  }

  private get flags(): number {
    return this.plan.extended && this.plan.withContexts ? FLAGS | BLOCK_STATUS_PAYLOAD : FLAGS;
  }

  private status(flags: number, cookie: bigint, length: number, ids: readonly number[]): Buffer {
    const one = (flags & CommandFlag.REQ_ONE) !== 0 || length === 1;
    const half = Math.floor(length / 2);
    const extents: [number, number][] = one
      ? [[length, 0]]
      : [
          [half, 1],
          [length - half, 0],
        ];
    const chunkOf = this.plan.extended ? extendedStatusChunk : statusChunk;
    return Buffer.concat(ids.map((id, i) => chunkOf(cookie, i === ids.length - 1 ? 1 : 0, id, extents)));
  }

  private data(cookie: bigint, flags: number, offset: number, data: Buffer): Buffer {
    if (!this.plan.extended) return dataChunk(cookie, flags, offset, data);
    return extendedChunk(cookie, flags, 1, Buffer.concat([u64(offset), data]));
  }

  private reply(command: number, cookie: bigint, offset: number, length: number): Buffer {
    const { structured, extended } = this.plan;
    if (command !== Command.READ && extended) return extendedChunk(cookie, 1, 0);
    if (command !== Command.READ) return structured ? chunk(cookie, 1, 0) : simpleReply(cookie, 0);
    if (!structured) return simpleReply(cookie, 0, contentAt(offset, length));
    const cut = this.random.below(length);
    const behind = this.data(cookie, cut === 0 ? 1 : 0, offset + cut, contentAt(offset + cut, length - cut));
    const isLie = this.messages === this.plan.spoiled && this.plan.lie === 'leave-out';
    if (isLie) return this.data(cookie, 1, offset, contentAt(offset, length - 1));
    return cut === 0 ? behind : Buffer.concat([behind, this.data(cookie, 1, offset, contentAt(offset, cut))]);
  }
}

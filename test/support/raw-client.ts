import { connect, type NetConnectOpts, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls';
import * as nbd from '../../src/protocol/constants.js';

/** A reply to an option. */
export interface OptionReply {
  readonly option: number;
  readonly type: number;
  readonly data: Buffer;
}

export interface Chunk {
  readonly cookie: bigint;
  readonly flags: number;
  readonly type: number;
  readonly payload: Buffer;
}

export interface SimpleReply {
  readonly cookie: bigint;
  readonly error: number;
  readonly data: Buffer;
}

export interface Request {
  readonly command: number;
  readonly cookie?: bigint;
  readonly flags?: number;
  readonly offset?: bigint | number;
  readonly length?: number;
  readonly payload?: Buffer;
  readonly magic?: number;
}

/** A chunk of an extended reply also says the offset of its request. */
export interface ExtendedChunk extends Chunk {
  readonly offset: bigint;
}

export const u16 = (value: number) => bytes(2, (buffer) => buffer.writeUInt16BE(value));
export const u32 = (value: number) => bytes(4, (buffer) => buffer.writeUInt32BE(value));
export const u64 = (value: bigint | number) => bytes(8, (buffer) => buffer.writeBigUInt64BE(BigInt(value)));

function bytes(length: number, fill: (buffer: Buffer) => void): Buffer {
  const buffer = Buffer.alloc(length);
  fill(buffer);
  return buffer;
}

/** A string after its 32-bit length. */
export const counted = (text: string | Buffer) => Buffer.concat([u32(Buffer.byteLength(text)), Buffer.from(text)]);

export const encodeOption = (option: number, data: Buffer = Buffer.alloc(0), length = data.length) =>
  Buffer.concat([Buffer.from('IHAVEOPT'), u32(option), u32(length), data]);

/** The data of INFO and GO. */
export const infoData = (name: string, types: number[] = []) =>
  Buffer.concat([counted(name), u16(types.length), ...types.map(u16)]);

/** The data of LIST_META_CONTEXT and SET_META_CONTEXT. */
export const metaData = (name: string, queries: string[]) =>
  Buffer.concat([counted(name), u32(queries.length), ...queries.map(counted)]);

export function encodeRequest(request: Request): Buffer {
  const payload = request.payload ?? Buffer.alloc(0);
  return Buffer.concat([
    u32(request.magic ?? 0x25609513),
    u16(request.flags ?? 0),
    u16(request.command),
    u64(request.cookie ?? 1n),
    u64(request.offset ?? 0),
    u32(request.length ?? payload.length),
    payload,
  ]);
}

/** A request with an extended header. A payload is announced by its flag unless `flags` are given. */
export function encodeExtendedRequest(
  request: Omit<Request, 'length'> & { readonly length?: bigint | number },
): Buffer {
  const payload = request.payload ?? Buffer.alloc(0);
  return Buffer.concat([
    u32(request.magic ?? 0x21e41c71),
    u16(request.flags ?? (request.payload ? nbd.CommandFlag.PAYLOAD_LEN : 0)),
    u16(request.command),
    u64(request.cookie ?? 1n),
    u64(request.offset ?? 0),
    u64(request.length ?? payload.length),
    payload,
  ]);
}

/** The payload of a BLOCK_STATUS request. */
export const statusPayload = (length: bigint | number, ...contextIds: number[]) =>
  Buffer.concat([u64(length), ...contextIds.map(u32)]);

/**
 * An NBD client that does exactly what a test tells it, right or wrong. It has its own code for the bytes of the
 * protocol, so that it cannot share a mistake with the server.
 */
export class RawClient {
  private readonly received: Buffer[] = [];
  private receivedBytes = 0;
  private over = false;
  private wake: () => void = () => {};

  private constructor(private socket: Socket) {
    this.listen();
  }

  /** To a unix socket, or to whatever the options say. */
  static async connect(to: string | NetConnectOpts): Promise<RawClient> {
    const socket = connect(typeof to === 'string' ? { path: to } : to);
    await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    return new RawClient(socket);
  }

  /** Reads the greeting and answers with client flags. */
  async greet(flags: number = nbd.HandshakeFlag.FIXED_NEWSTYLE | nbd.HandshakeFlag.NO_ZEROES): Promise<Buffer> {
    const greeting = await this.read(18);
    this.send(u32(flags));
    return greeting;
  }

  /** Completes the handshake, with replies and contexts as asked. Returns the flags in the reply to GO. */
  async go(
    name: string,
    { structured = true, extended = false, contexts = [] as string[], infoTypes = [] as number[] } = {},
  ): Promise<number> {
    await this.greet();
    if (extended) {
      this.option(nbd.Option.EXTENDED_HEADERS);
      await this.replies();
    } else if (structured) {
      this.option(nbd.Option.STRUCTURED_REPLY);
      await this.replies();
    }
    if (contexts.length > 0) {
      this.option(nbd.Option.SET_META_CONTEXT, metaData(name, contexts));
      await this.replies();
    }
    this.option(nbd.Option.GO, infoData(name, infoTypes));
    const info = (await this.replies()).find(({ type, data }) => type === 3 && data.readUInt16BE(0) === 0);
    if (!info) throw new Error('GO was refused');
    return info.data.readUInt16BE(10);
  }

  /** Asks for TLS, and speaks it from then on. Resolves to the new socket. */
  async startTls(options: ConnectionOptions): Promise<TLSSocket> {
    this.option(nbd.Option.STARTTLS);
    const { type } = await this.reply();
    if (type !== nbd.OptionReply.ACK) throw new Error(`STARTTLS was answered with ${type}`);
    return this.secure(options);
  }

  /** Speaks TLS from now on. */
  async secure(options: ConnectionOptions): Promise<TLSSocket> {
    this.socket.removeAllListeners('data');
    const secured = connectTls({ socket: this.socket, checkServerIdentity: () => undefined, ...options });
    await new Promise((resolve, reject) => secured.once('secureConnect', resolve).on('error', reject));
    this.socket = secured;
    this.listen();
    return secured;
  }

  send(data: Buffer): void {
    this.socket.write(data);
  }

  /** Resolves when the server has taken everything, except what the kernel buffers. */
  async sent(data: Buffer): Promise<void> {
    await new Promise<void>((resolve) => this.socket.write(data, () => resolve()));
  }

  option(option: number, data: Buffer = Buffer.alloc(0)): void {
    this.send(encodeOption(option, data));
  }

  request(request: Request): void {
    this.send(encodeRequest(request));
  }

  async read(length: number): Promise<Buffer> {
    while (this.receivedBytes < length) {
      if (this.over) throw new Error(`the server closed the connection; ${this.receivedBytes} of ${length} bytes`);
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
    const all = Buffer.concat(this.received.splice(0));
    this.received.push(all.subarray(length));
    this.receivedBytes = all.length - length;
    return all.subarray(0, length);
  }

  async reply(): Promise<OptionReply> {
    const header = await this.read(20);
    if (header.readBigUInt64BE(0) !== 0x0003e889045565a9n) throw new Error('not an option reply');
    const data = await this.read(header.readUInt32BE(16));
    return { option: header.readUInt32BE(8), type: header.readUInt32BE(12), data };
  }

  /** All replies to one option: those before the last, then an ACK or an error. */
  async replies(): Promise<OptionReply[]> {
    const replies: OptionReply[] = [];
    for (;;) {
      const reply = await this.reply();
      replies.push(reply);
      if (reply.type === nbd.OptionReply.ACK || reply.type >= 2 ** 31) return replies;
    }
  }

  async simpleReply(dataBytes = 0): Promise<SimpleReply> {
    const header = await this.read(16);
    if (header.readUInt32BE(0) !== 0x67446698) throw new Error('not a simple reply');
    const error = header.readUInt32BE(4);
    return { error, cookie: header.readBigUInt64BE(8), data: await this.read(error === 0 ? dataBytes : 0) };
  }

  async chunk(): Promise<Chunk> {
    const header = await this.read(20);
    if (header.readUInt32BE(0) !== 0x668e33ef) throw new Error('not a structured reply');
    const payload = await this.read(header.readUInt32BE(16));
    return {
      flags: header.readUInt16BE(4),
      type: header.readUInt16BE(6),
      cookie: header.readBigUInt64BE(8),
      payload,
    };
  }

  async extendedChunk(): Promise<ExtendedChunk> {
    const header = await this.read(32);
    if (header.readUInt32BE(0) !== 0x6e8a278c) throw new Error('not an extended reply');
    const payload = await this.read(Number(header.readBigUInt64BE(24)));
    return {
      flags: header.readUInt16BE(4),
      type: header.readUInt16BE(6),
      cookie: header.readBigUInt64BE(8),
      offset: header.readBigUInt64BE(16),
      payload,
    };
  }

  /** The chunks of one reply. No other reply may come between them. */
  chunks(): Promise<Chunk[]> {
    return wholeReply(() => this.chunk());
  }

  extendedChunks(): Promise<ExtendedChunk[]> {
    return wholeReply(() => this.extendedChunk());
  }

  /** The error of a structured reply of one chunk; 0 if it is not an error. */
  async structuredError(): Promise<number> {
    const [chunk] = await this.chunks();
    return chunk!.type === nbd.ReplyChunk.ERROR ? chunk!.payload.readUInt32BE(0) : 0;
  }

  /** Everything that the server still sends before it closes the connection. */
  async rest(): Promise<Buffer> {
    while (!this.over) {
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
    return this.read(this.receivedBytes);
  }

  /** Reads nothing until `resume`. */
  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  /** Sends no more, but continues to read. */
  end(): void {
    this.socket.end();
  }

  close(): void {
    this.socket.destroy();
  }

  private listen(): void {
    this.socket.on('data', (data: Buffer) => {
      this.received.push(data);
      this.receivedBytes += data.length;
      this.wake();
    });
    const ended = () => {
      this.over = true;
      this.wake();
    };
    this.socket.on('end', ended).on('close', ended).on('error', ended);
  }
}

async function wholeReply<One extends Chunk>(next: () => Promise<One>): Promise<One[]> {
  const chunks: One[] = [];
  for (;;) {
    const chunk = await next();
    chunks.push(chunk);
    if (chunk.flags & nbd.REPLY_FLAG_DONE) return chunks;
  }
}

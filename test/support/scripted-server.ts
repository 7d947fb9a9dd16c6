import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { TLSSocket, type TLSSocketOptions } from 'node:tls';
import { onTestFinished } from 'vitest';
import type { NbdTarget } from '../../src/client/nbd-uri.js';
import { u16, u32 } from './raw-client.js';
import { scratchFolder } from './scratch-folder.js';
import { infoExport, optionReply } from './server-messages.js';

export {
  chunk,
  DONE,
  dataChunk,
  extendedChunk,
  extendedStatusChunk,
  holeChunk,
  infoExport,
  optionReply,
  simpleReply,
  statusChunk,
} from './server-messages.js';

export interface ReceivedOption {
  readonly option: number;
  readonly data: Buffer;
}

export interface ReceivedRequest {
  readonly flags: number;
  readonly command: number;
  readonly cookie: bigint;
  readonly offset: bigint;
  readonly length: number;
}

export interface ScriptedExport {
  readonly structured?: boolean;
  readonly extended?: boolean;
  readonly sizeBytes?: number | bigint;
  /** Transmission flags. */
  readonly flags?: number;
  /** The contexts that can be selected: ID by name. */
  readonly contexts?: Readonly<Record<string, number>>;
}

const STARTTLS = 5;
const ACK = 1;
/** The flag of a request that has a payload. */
const PAYLOAD_LEN = 1 << 5;
const UNSUPPORTED = 2 ** 31 + 1;

/**
 * The server's end of a connection, controlled by a script. It has its own code for the bytes of the protocol, so that
 * it cannot share a mistake with the client.
 */
export class ScriptedPeer {
  constructor(private readonly socket: Socket) {}

  send(...parts: Buffer[]): void {
    this.socket.write(Buffer.concat(parts));
  }

  /** Resolves when the client can see it. */
  close(): Promise<void> {
    return new Promise((resolve) => void this.socket.end(resolve));
  }

  async read(length: number): Promise<Buffer> {
    if (length === 0) return Buffer.alloc(0);
    for (;;) {
      const data = this.socket.read(length) as Buffer | null;
      if (data?.length === length) return data;
      // After the end of the stream, less than was asked for may be left.
      if (data !== null || this.socket.readableEnded || this.socket.destroyed) throw new ClientLeft();
      await nextNews(this.socket);
    }
  }

  /** Greets and returns the client's flags. */
  async greet(flags = 3): Promise<number> {
    this.send(Buffer.from('NBDMAGICIHAVEOPT'), u16(flags));
    return (await this.read(4)).readUInt32BE(0);
  }

  async option(): Promise<ReceivedOption> {
    const header = await this.read(16);
    return { option: header.readUInt32BE(8), data: await this.read(header.readUInt32BE(12)) };
  }

  /** Agrees to STARTTLS and does what the server does then. Resolves to the peer within TLS. */
  async startTls(options: TLSSocketOptions): Promise<ScriptedPeer> {
    const { option } = await this.option();
    this.send(optionReply(option, option === STARTTLS ? ACK : UNSUPPORTED));
    const secured = new TLSSocket(this.socket, { ...options, isServer: true });
    secured.on('error', () => {});
    await new Promise((resolve) => secured.once('secure', resolve).once('close', resolve));
    return new ScriptedPeer(secured);
  }

  /** Completes the handshake as a correct server does. */
  async open(disk: ScriptedExport = {}): Promise<void> {
    await this.greet();
    await this.agree(disk);
  }

  /** Completes the handshake after the greeting. */
  async agree({
    structured = true,
    extended = false,
    sizeBytes = 2 ** 20,
    flags = 1,
    contexts = {},
  }: ScriptedExport = {}): Promise<void> {
    for (;;) {
      const { option, data } = await this.option();
      if (option === 11) this.send(optionReply(option, extended ? ACK : UNSUPPORTED));
      else if (option === 8) this.send(optionReply(option, structured ? ACK : UNSUPPORTED));
      else if (option === 10) {
        const asked = Object.entries(contexts).filter(([name]) => data.includes(name));
        this.send(...asked.map(([name, id]) => optionReply(option, 4, Buffer.concat([u32(id), Buffer.from(name)]))));
        this.send(optionReply(option, ACK));
      } else if (option === 7) {
        this.send(optionReply(option, 3, infoExport(sizeBytes, flags)), optionReply(option, ACK));
        return;
      }
    }
  }

  /** A request with an extended header, and its payload. */
  async extendedRequest(): Promise<ReceivedRequest & { readonly payload: Buffer }> {
    const header = await this.read(32);
    const [flags, length] = [header.readUInt16BE(4), Number(header.readBigUInt64BE(24))];
    return {
      flags,
      command: header.readUInt16BE(6),
      cookie: header.readBigUInt64BE(8),
      offset: header.readBigUInt64BE(16),
      length,
      payload: await this.read((flags & PAYLOAD_LEN) === 0 ? 0 : length),
    };
  }

  async request(): Promise<ReceivedRequest> {
    const header = await this.read(28);
    return {
      flags: header.readUInt16BE(4),
      command: header.readUInt16BE(6),
      cookie: header.readBigUInt64BE(8),
      offset: header.readBigUInt64BE(16),
      length: header.readUInt32BE(24),
    };
  }
}

/** Resolves when the socket has something to read or has ended. */
function nextNews(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const events = ['readable', 'close'];
    const settle = () => {
      for (const event of events) socket.off(event, settle);
      // Not at once: with too little to read this would repeat forever, and the rest could never arrive.
      setImmediate(resolve);
    };
    for (const event of events) socket.on(event, settle);
  });
}

/** Ends a script when the client has gone, which most tests expect. */
class ClientLeft extends Error {}

/** Runs the script for each client that connects. The test fails if a script throws. */
export async function startScriptedServer(script: (peer: ScriptedPeer) => Promise<void>): Promise<NbdTarget> {
  const socketPath = join(scratchFolder(), 'scripted.sock');
  const sockets = new Set<Socket>();
  const failures: Promise<unknown>[] = [];
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    const failure = (error: unknown) => (error instanceof ClientLeft ? undefined : error);
    failures.push(script(new ScriptedPeer(socket)).then(() => undefined, failure));
  });
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    const failure = (await Promise.all(failures)).find((error) => error !== undefined);
    if (failure !== undefined) throw failure;
  });
  return { address: { socketPath }, exportName: 'disk' };
}

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { onTestFinished } from 'vitest';
import { type Peer, startPeer } from './peer.js';
import { scratchFolder } from './scratch-folder.js';

/** A line from the server: the answer to the oldest unanswered command, or an event. */
interface QmpMessage {
  readonly return?: unknown;
  readonly error?: { readonly class: string; readonly desc: string };
  readonly event?: string;
  readonly data?: Readonly<Record<string, unknown>>;
}

/** A command that QEMU refused. */
export class QmpRefusal extends Error {}

interface Waiting {
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: Error) => void;
}

interface Awaited {
  readonly isIt: (message: QmpMessage) => boolean;
  readonly resolve: () => void;
}

/** Speaks the QEMU machine protocol (docs/interop/qmp-spec.txt), in which answers come in the order of the commands. */
export class Qmp {
  private readonly waiting: Waiting[] = [];
  private awaited: Awaited[] = [];

  private constructor(private readonly socket: Socket) {
    // A killed server resets the connection. The line reader reports that too, and `close` follows.
    createInterface(socket)
      .on('line', (line) => this.take(JSON.parse(line)))
      .on('error', () => {});
    socket.on('error', () => {});
    socket.once('close', () => {
      for (const { reject } of this.waiting.splice(0)) reject(new Error('QEMU closed the connection'));
    });
  }

  /** The connection is closed at the end of the test. */
  static async connect(path: string): Promise<Qmp> {
    const socket = connect({ path });
    onTestFinished(() => void socket.destroy());
    const qmp = new Qmp(socket);
    await once(socket, 'connect');
    await qmp.execute('qmp_capabilities');
    return qmp;
  }

  /** Rejects with a QmpRefusal, whose message is QEMU's. */
  execute<Answer>(command: string, options: object = {}): Promise<Answer> {
    return new Promise<Answer>((resolve, reject) => {
      this.waiting.push({ resolve: (answer) => resolve(answer as Answer), reject });
      this.socket.write(`${JSON.stringify({ execute: command, arguments: options })}\n`);
    });
  }

  /** Resolves when the event happens with that value in its data. Must be called before the cause of the event. */
  event(name: string, key: string, value: unknown): Promise<void> {
    const isIt = ({ event, data }: QmpMessage) => event === name && data?.[key] === value;
    return new Promise((resolve) => this.awaited.push({ isIt, resolve }));
  }

  private take(message: QmpMessage): void {
    if (message.event !== undefined) {
      for (const { isIt, resolve } of this.awaited) if (isIt(message)) resolve();
      this.awaited = this.awaited.filter(({ isIt }) => !isIt(message));
    } else if (message.error) {
      this.waiting.shift()?.reject(new QmpRefusal(message.error.desc));
    } else if ('return' in message) this.waiting.shift()?.resolve(message.return);
  }
}

export interface StorageDaemon extends Peer {
  readonly qmp: Qmp;
  /** The URI of an NBD export that `block-export-add` makes. */
  uri(exportName: string): string;
}

/** Starts qemu-storage-daemon with the given block devices, until the end of the test. */
export async function startStorageDaemon(...blockDevices: object[]): Promise<StorageDaemon> {
  const folder = scratchFolder();
  const [monitor, socket] = [join(folder, 'qmp.sock'), join(folder, 'nbd.sock')];
  const peer = await startPeer(
    'qemu-storage-daemon',
    [
      ...blockDevices.flatMap((device) => ['--blockdev', JSON.stringify(device)]),
      ...['--chardev', `socket,path=${monitor},server=on,wait=off,id=qmp`, '--monitor', 'chardev=qmp'],
      // Last, because the daemon counts as started when this socket listens.
      ...['--nbd-server', `addr.type=unix,addr.path=${socket},max-connections=0`],
    ],
    { path: socket },
  );
  return { ...peer, qmp: await Qmp.connect(monitor), uri: (name) => `nbd+unix:///${name}?socket=${socket}` };
}

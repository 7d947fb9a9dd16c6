import { closeSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import type { Log } from '../../base/log.js';
import type { DiskShare } from '../../export/elsewhere/disk-sharing.js';
import { MessageBatch } from './message-batch.js';
import type { MovedClient } from './moved-client.js';
import type { RelayedHandshake } from './relayed-handshake.js';
import type {
  ClientDescriptor,
  ClientTerms,
  ClientToServe,
  FromThread,
  ThreadData,
  ToThread,
} from './thread-messages.js';

const ENDED = 'the thread that served it has ended';

/** A client of the thread: first in its handshake if it uses TLS, then with a disk. */
type Served = InHandshake | WithDisk;

interface InHandshake {
  readonly client: ClientDescriptor;
  readonly relay: RelayedHandshake;
}

interface WithDisk {
  readonly client: ClientDescriptor;
  readonly moved: MovedClient;
  /** Undefined if the thread asks for everything. */
  readonly share: DiskShare | undefined;
}

/** A thread that serves clients, as its owner sees it. */
export class ClientThread {
  private readonly clients = new Map<number, Served>();
  private readonly worker: Worker;
  private readonly toThread: MessageBatch<ToThread>;
  private readonly exited: Promise<void>;
  private ending = false;

  constructor(
    data: ThreadData,
    private readonly log: Log,
    /** Called when it has ended, whether or not it was told to. `hasServed`: it had taken a client over. */
    onEnd: (thread: ClientThread, hasServed: boolean) => void,
  ) {
    this.worker = new Worker(new URL('./client-thread.js', import.meta.url), { workerData: data });
    this.toThread = new MessageBatch<ToThread>(this.worker);
    this.worker.on('message', (messages: readonly FromThread[]) => {
      for (const message of messages) this.take(message);
    });
    this.worker.on('error', (error: Error) => log.error({ err: error, slot: data.slot }, 'a thread failed'));
    this.exited = new Promise((resolve) => {
      this.worker.on('exit', () => {
        if (!this.ending) log.error({ slot: data.slot, clients: this.clients.size }, 'a thread ended with its clients');
        // Before another thread can have the slot.
        for (const served of this.clients.values()) if ('share' in served) served.share?.threadEnded(data.slot);
        onEnd(this, this.ending || [...this.clients.values()].some(isTaken));
        for (const served of this.clients.values()) end(served);
        this.clients.clear();
        resolve();
      });
    });
  }

  get clientCount(): number {
    return this.clients.size;
  }

  /** How many of its clients use this disk. */
  countOn(served: object): number {
    return [...this.clients.values()].filter((one) => 'moved' in one && one.moved.agreement.export === served).length;
  }

  serve(client: ClientToServe, moved: MovedClient, share: DiskShare): void {
    this.clients.set(client.id, { client, moved, share });
    this.send({ kind: 'serve', client });
  }

  /** Makes the TLS handshake of a client, and relays its options. */
  secure(client: ClientDescriptor, relay: RelayedHandshake): void {
    this.clients.set(client.id, { client, relay });
    this.send({ kind: 'secure', client });
  }

  /** Serves a client that it has secured. */
  begin(relay: RelayedHandshake, terms: ClientTerms, moved: MovedClient, share: DiskShare | undefined): void {
    const { client } = this.clients.get(relay.id)!;
    this.clients.set(relay.id, { client, moved, share });
    this.send({ kind: 'begin', client: terms, say: relay.takeSay(), leftoverBytes: relay.leftoverBytes });
  }

  send(message: ToThread): void {
    this.toThread.send(message);
  }

  /** Resolves when the thread has ended. It must have no clients any more. */
  async end(): Promise<void> {
    this.ending = true;
    this.send({ kind: 'end' });
    await this.exited;
  }

  private take(message: FromThread): void {
    switch (message.kind) {
      case 'ask':
        void this.answer(message);
        return;
      case 'secured':
        this.relayOf(message.client)?.secured(message.proof);
        return;
      case 'haggle':
        this.relayOf(message.client)?.heard(message.bytes);
        return;
      case 'closed':
        this.closed(message);
        return;
      case 'log':
        this.log[message.level](message.fields, message.message);
    }
  }

  private relayOf(client: number): RelayedHandshake | undefined {
    const served = this.clients.get(client);
    return served && 'relay' in served ? served.relay : undefined;
  }

  private closed({ client, reason, refused }: FromThread & { kind: 'closed' }): void {
    const served = this.clients.get(client);
    this.clients.delete(client);
    if (!served) return;
    if ('relay' in served) served.relay.end(reason, refused);
    else served.moved.end(reason);
  }

  private async answer({ client, question, call }: FromThread & { kind: 'ask' }): Promise<void> {
    const served = this.clients.get(client);
    const answer = served && 'moved' in served ? await served.moved.make(call) : undefined;
    if (answer) this.toThread.send({ kind: 'answer', question, answer }, answer.data?.buffer);
  }
}

/** The thread has ended, and with it the connection. If it ended before it took the descriptor, nobody else closes it. */
function end(served: Served): void {
  if (!isTaken(served)) closeSync(served.client.fd);
  if ('relay' in served) served.relay.end(ENDED);
  else served.moved.end(ENDED);
}

function isTaken({ client }: Served): boolean {
  return Atomics.load(client.taken, 0) !== 0;
}

import { closeSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import type { Log } from '../../base/log.js';
import type { DiskShare } from '../../export/elsewhere/disk-sharing.js';
import { MessageBatch } from './message-batch.js';
import type { MovedClient } from './moved-client.js';
import type { ClientToServe, FromThread, ThreadData, ToThread } from './thread-messages.js';

const ENDED = 'the thread that served it has ended';

interface Served {
  readonly client: ClientToServe;
  readonly moved: MovedClient;
  readonly share: DiskShare;
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
        for (const { share } of this.clients.values()) share.threadEnded(data.slot);
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
    return [...this.clients.values()].filter(({ moved }) => moved.agreement.export === served).length;
  }

  serve(client: ClientToServe, moved: MovedClient, share: DiskShare): void {
    this.clients.set(client.id, { client, moved, share });
    this.toThread.send({ kind: 'serve', client });
  }

  stop(client: number, reason: string): void {
    this.toThread.send({ kind: 'stop', client, reason });
  }

  /** Resolves when the thread has ended. It must have no clients any more. */
  async end(): Promise<void> {
    this.ending = true;
    this.toThread.send({ kind: 'end' });
    await this.exited;
  }

  private take(message: FromThread): void {
    switch (message.kind) {
      case 'ask':
        void this.answer(message);
        return;
      case 'closed':
        this.clients.get(message.client)?.moved.end(message.reason);
        this.clients.delete(message.client);
        return;
      case 'log':
        this.log[message.level](message.fields, message.message);
    }
  }

  private async answer({ client, question, call }: FromThread & { kind: 'ask' }): Promise<void> {
    const answer = await this.clients.get(client)?.moved.make(call);
    if (answer) this.toThread.send({ kind: 'answer', question, answer }, answer.data?.buffer);
  }
}

/** The thread has ended, and with it the connection. If it ended before it took the descriptor, nobody else closes it. */
function end(served: Served): void {
  if (!isTaken(served)) closeSync(served.client.fd);
  served.moved.end(ENDED);
}

function isTaken({ client }: Served): boolean {
  return Atomics.load(client.taken, 0) !== 0;
}

import type { Log } from '../../base/log.js';
import type { DiskShare } from '../../export/elsewhere/disk-sharing.js';
import type { ServedDisk } from '../../export/served-disk.js';
import type { Posix } from '../../posix/posix-calls.js';
import type { Agreement } from '../agreement.js';
import type { Link, MovedStream } from '../link.js';
import { ClientThread } from './client-thread-owner.js';
import { MovedClient } from './moved-client.js';
import { programFiles } from './program-files.js';
import type { ClientToServe, ThreadData } from './thread-messages.js';

export interface ClientThreadsOptions extends Omit<ThreadData, 'slot' | 'logsDebug'> {
  /** How many threads serve clients besides this one. */
  readonly count: number;
  readonly posix: Posix | undefined;
  readonly log: Log;
}

/** How long not to try again after a thread could not begin to serve, perhaps because there were no descriptors left. */
const REST_MILLISECONDS = 10_000;

/**
 * The threads that serve clients besides this one, each started when it gets its first client. The clients of each disk
 * are spread over all threads. This one comes first, because it owns the disks.
 */
export class ClientThreads {
  /** By slot; missing while it does not run. */
  private readonly threads: (ClientThread | undefined)[] = [];

  private clientsHere = 0;
  /** Until then, in the time of performance.now(), clients stay here, because a thread could not begin to serve. */
  private restUntil = 0;
  /** When this server was started. */
  private readonly files = programFiles();

  constructor(private readonly options: ClientThreadsOptions) {}

  /**
   * Moves a client whose handshake is over to another thread. Undefined if it stays in this one, because it is served
   * best here, or cannot move.
   */
  move(link: Link, agreement: Agreement<ServedDisk>, id: number): MovedClient | undefined {
    const moved = this.tryToMove(link, agreement, id);
    if (!moved) this.stays(link);
    return moved;
  }

  /** Resolves when all threads have ended. They must have no clients any more. */
  async close(): Promise<void> {
    await Promise.all(this.threads.map((thread) => thread?.end()));
  }

  private tryToMove(link: Link, agreement: Agreement<ServedDisk>, id: number): MovedClient | undefined {
    const { count, posix } = this.options;
    const slot = this.bestSlot(agreement.export);
    if (slot === undefined || !posix || performance.now() < this.restUntil) return undefined;
    const share = agreement.export.share(count);
    // A client that has left its link cannot go back, so the thread comes first.
    const thread = share && this.threadIn(slot);
    const stream =
      thread &&
      link.moveTo((fd) => {
        const copy = posix.duplicateNow(fd);
        return copy < 0 ? undefined : copy;
      });
    if (share && thread && stream) return this.serve(thread, { id, stream, agreement, share });
    share?.release();
    return undefined;
  }

  private stays(link: Link): void {
    this.clientsHere++;
    void link.closed.then(() => this.clientsHere--);
  }

  private serve(
    thread: ClientThread,
    client: { id: number; stream: MovedStream; agreement: Agreement<ServedDisk>; share: DiskShare },
  ): MovedClient {
    const { id, agreement, share } = client;
    const moved = new MovedClient(
      agreement,
      (reason) => thread.stop(id, reason),
      (bug) => this.options.log.error({ err: bug, connection: id }, 'a bug failed a request'),
    );
    void moved.closed.then(() => share.release());
    thread.serve(describe(client, moved), moved, share);
    return moved;
  }

  /** Undefined if the system allows no more threads. */
  private threadIn(slot: number): ClientThread | undefined {
    try {
      this.threads[slot] ??= this.start(slot);
    } catch (error) {
      this.options.log.warn({ err: error, slot }, 'a thread could not start, so a client stays in the main thread');
    }
    return this.threads[slot];
  }

  private start(slot: number): ClientThread {
    if (programFiles() !== this.files) throw new Error('the program was replaced since the server started: restart it');
    const { count: _count, posix: _posix, log, ...data } = this.options;
    const logsDebug = log.level === undefined || log.level === 'debug';
    return new ClientThread({ slot, logsDebug, ...data }, log, (ended, hasServed) => {
      if (!hasServed) this.restUntil = performance.now() + REST_MILLISECONDS;
      if (this.threads[slot] !== ended) return;
      this.threads[slot] = undefined;
      for (const part of Object.values(data.memoryParts)) part[slot + 1] = 0;
    });
  }

  /** The thread with the fewest clients of the disk, and of those the one with the fewest of all; undefined: this one. */
  private bestSlot(served: ServedDisk): number | undefined {
    const threads = Array.from({ length: this.options.count }, (_, slot) => {
      const thread = this.threads[slot];
      return { slot, ofDisk: thread?.countOn(served) ?? 0, all: thread?.clientCount ?? 0 };
    });
    const elsewhere = threads.reduce((sum, { ofDisk }) => sum + ofDisk, 0);
    // The client is counted already.
    const here = { slot: undefined, ofDisk: served.clientCount - 1 - elsewhere, all: this.clientsHere };
    return threads.reduce<Candidate>((best, one) => (isIdler(one, best) ? one : best), here).slot;
  }
}

interface Candidate {
  readonly slot: number | undefined;
  readonly ofDisk: number;
  readonly all: number;
}

function isIdler(one: Candidate, other: Candidate): boolean {
  return one.ofDisk < other.ofDisk || (one.ofDisk === other.ofDisk && one.all < other.all);
}

function describe(
  {
    id,
    stream,
    agreement,
    share,
  }: { id: number; stream: MovedStream; agreement: Agreement<ServedDisk>; share: DiskShare },
  moved: MovedClient,
): ClientToServe {
  const { readOnly, replies, enforceBlockSize, contexts, export: served } = agreement;
  const { name, minBlockBytes, capabilities } = served;
  return {
    id,
    fd: stream.fd,
    taken: new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT)),
    received: stream.received,
    disk: { name, minBlockBytes, capabilities: { ...capabilities }, shared: share.disk },
    readOnly,
    replies,
    enforceBlockSize,
    contexts: contexts.map(({ id: context, context: { name: contextName } }) => ({ id: context, name: contextName })),
    counters: moved.memory,
  };
}

import type { Log } from '../../base/log.js';
import type { DiskShare } from '../../export/elsewhere/disk-sharing.js';
import type { ServedDisk } from '../../export/served-disk.js';
import type { Posix } from '../../posix/posix-calls.js';
import type { Agreement } from '../agreement.js';
import type { Link, MovedStream } from '../link.js';
import { ClientThread } from './client-thread-owner.js';
import { MovedClient } from './moved-client.js';
import type { ClientToServe, ThreadData } from './thread-messages.js';

export interface ClientThreadsOptions extends Omit<ThreadData, 'slot'> {
  /** How many threads serve clients besides this one. */
  readonly count: number;
  readonly posix: Posix | undefined;
  readonly log: Log;
}

/**
 * The threads that serve clients besides this one, each started when it gets its first client. Clients of one disk are
 * spread over all threads, this one first: it owns the disks and serves a single client best.
 */
export class ClientThreads {
  /** By slot; missing while it does not run. */
  private readonly threads: (ClientThread | undefined)[] = [];

  constructor(private readonly options: ClientThreadsOptions) {}

  /**
   * Moves a client whose handshake is over to another thread. Undefined if it stays in this one, because it is served
   * best here, or cannot move.
   */
  move(link: Link, agreement: Agreement<ServedDisk>, id: number): MovedClient | undefined {
    const { count, posix } = this.options;
    const served = agreement.export;
    const slot = this.bestSlot(served);
    if (slot === undefined || !posix) return undefined;
    const share = served.share(count);
    if (!share) return undefined;
    const stream = link.moveTo((fd) => {
      const copy = posix.duplicateNow(fd);
      return copy < 0 ? undefined : copy;
    });
    if (!stream) {
      share.release();
      return undefined;
    }
    return this.serve(slot, { id, stream, agreement, share });
  }

  /** Resolves when all threads have ended. They must have no clients any more. */
  async close(): Promise<void> {
    await Promise.all(this.threads.map((thread) => thread?.end()));
  }

  private serve(
    slot: number,
    client: { id: number; stream: MovedStream; agreement: Agreement<ServedDisk>; share: DiskShare },
  ): MovedClient {
    const { id, agreement, share } = client;
    const thread = this.threadIn(slot);
    const moved = new MovedClient(
      agreement,
      (reason) => thread.stop(id, reason),
      (bug) => this.options.log.error({ err: bug, connection: id }, 'a bug failed a request'),
    );
    void moved.closed.then(() => share.release());
    thread.serve(describe(client, moved), moved, share);
    return moved;
  }

  private threadIn(slot: number): ClientThread {
    const { count: _count, posix: _posix, log, ...data } = this.options;
    this.threads[slot] ??= new ClientThread({ slot, ...data }, log, (ended) => {
      if (this.threads[slot] !== ended) return;
      this.threads[slot] = undefined;
      for (const part of Object.values(data.memoryParts)) part[slot + 1] = 0;
    });
    return this.threads[slot];
  }

  /** The thread with the fewest clients of the disk, and of those the one with the fewest of all; undefined: this one. */
  private bestSlot(served: ServedDisk): number | undefined {
    const slots = Array.from({ length: this.options.count }, (_, slot) => slot);
    // The client is counted already.
    const elsewhere = slots.reduce((sum, slot) => sum + (this.threads[slot]?.countOn(served) ?? 0), 0);
    let best: number | undefined;
    let fewest = served.clientCount - 1 - elsewhere;
    for (const slot of slots) {
      const clients = this.threads[slot]?.countOn(served) ?? 0;
      if (clients >= fewest) continue;
      best = slot;
      fewest = clients;
    }
    return best;
  }
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
  const { structuredReplies, enforceBlockSize, contexts, export: served } = agreement;
  const { name, readOnly, minBlockBytes, capabilities } = served;
  return {
    id,
    fd: stream.fd,
    received: stream.received,
    disk: { name, readOnly, minBlockBytes, capabilities: { ...capabilities }, shared: share.disk },
    structuredReplies,
    enforceBlockSize,
    contexts: contexts.map(({ id: context, context: { name: contextName } }) => ({ id: context, name: contextName })),
    counters: moved.memory,
  };
}

import { assert } from '../../base/assert.js';
import { isTraced, type Log } from '../../base/log.js';
import type { DiskShare } from '../../export/elsewhere/disk-sharing.js';
import type { ServedDisk } from '../../export/served-disk.js';
import type { Posix } from '../../posix/posix-calls.js';
import type { TlsSettings } from '../../tls/tls-settings.js';
import type { Agreement } from '../agreement.js';
import type { Link, LinkHost, MovedStream } from '../link.js';
import type { Securing } from '../securing.js';
import { ClientThread } from './client-thread-owner.js';
import { MovedClient } from './moved-client.js';
import { programFiles } from './program-files.js';
import { RelayedHandshake } from './relayed-handshake.js';
import type { ClientDescriptor, ClientTerms, ThreadData, ThreadLogLevel, ToThread } from './thread-messages.js';

export interface ClientThreadsOptions extends Omit<ThreadData, 'slot' | 'logLevel'> {
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
  /** What a thread is told before its first client; undefined if there is no TLS. */
  private tls: (ToThread & { kind: 'tls' }) | undefined;
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

  /** The level of the log has changed. */
  useLogLevel(): void {
    for (const thread of this.threads) thread?.send({ kind: 'log-level', level: levelOf(this.options.log) });
  }

  /** Clients that ask for TLS from now on meet these settings. */
  useTls(settings: TlsSettings, handshakeMilliseconds: number): void {
    this.tls = { kind: 'tls', settings, handshakeMilliseconds };
    for (const thread of this.threads) thread?.send(this.tls);
  }

  /**
   * Moves a client that has just asked for TLS to another thread, before its first encrypted byte. Nobody knows yet which
   * disk it will use. Undefined if it stays in this one; `stays` is called then.
   */
  secure(link: Link, id: number, host: LinkHost): Securing | undefined {
    const { slot } = this.idlest({ slot: undefined, ofDisk: 0, all: this.clientsHere }, () => 0);
    const thread = slot === undefined || !this.mayMove ? undefined : this.threadIn(slot);
    const stream = thread && this.leave(link);
    if (!thread || !stream) return undefined;
    assert(stream.received.length === 0, 'nothing was received behind STARTTLS');
    const relay: RelayedHandshake = new RelayedHandshake(id, host, {
      send: (message) => thread.send(message),
      begin: (agreement) => this.begin(thread, relay, agreement),
    });
    thread.secure(descriptorOf(id, stream), relay);
    return relay;
  }

  /** Counts a client of this thread until it is closed. */
  stays({ closed }: { readonly closed: Promise<unknown> }): void {
    this.clientsHere++;
    void closed.then(() => this.clientsHere--);
  }

  /** Resolves when all threads have ended. They must have no clients any more. */
  async close(): Promise<void> {
    await Promise.all(this.threads.map((thread) => thread?.end()));
  }

  private tryToMove(link: Link, agreement: Agreement<ServedDisk>, id: number): MovedClient | undefined {
    const slot = this.bestSlot(agreement.export);
    if (slot === undefined || !this.mayMove) return undefined;
    const share = agreement.export.share(this.options.count);
    // A client that has left its link cannot go back, so the thread comes first.
    const thread = share && this.threadIn(slot);
    const stream = thread && this.leave(link);
    if (share && thread && stream) {
      const moved = this.movedTo(thread, id, agreement, share);
      const { received } = stream;
      thread.serve({ ...termsOf(id, moved, share), ...descriptorOf(id, stream), received }, moved, share);
      return moved;
    }
    share?.release();
    return undefined;
  }

  private get mayMove(): boolean {
    return this.options.posix !== undefined && performance.now() >= this.restUntil;
  }

  private leave(link: Link): MovedStream | undefined {
    return link.moveTo((fd) => {
      const copy = this.options.posix?.duplicateNow(fd) ?? -1;
      return copy < 0 ? undefined : copy;
    });
  }

  /** Serves a client that the thread has secured. */
  private begin(thread: ClientThread, relay: RelayedHandshake, agreement: Agreement<ServedDisk>): MovedClient {
    const share = agreement.export.share(this.options.count);
    const moved = this.movedTo(thread, relay.id, agreement, share);
    thread.begin(relay, termsOf(relay.id, moved, share), moved, share);
    return moved;
  }

  private movedTo(
    thread: ClientThread,
    id: number,
    agreement: Agreement<ServedDisk>,
    share: DiskShare | undefined,
  ): MovedClient {
    const moved = new MovedClient(
      agreement,
      (reason) => thread.send({ kind: 'stop', client: id, reason }),
      (bug) => this.options.log.error({ err: bug, connection: id }, 'a bug failed a request'),
    );
    void moved.closed.then(() => share?.release());
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
    const logLevel = levelOf(log);
    const thread = new ClientThread({ slot, logLevel, ...data }, log, (ended, hasServed) => {
      if (!hasServed) this.restUntil = performance.now() + REST_MILLISECONDS;
      if (this.threads[slot] !== ended) return;
      this.threads[slot] = undefined;
      for (const part of Object.values(data.memoryParts)) part[slot + 1] = 0;
    });
    if (this.tls) thread.send(this.tls);
    return thread;
  }

  /** The thread with the fewest clients of the disk, and of those the one with the fewest of all; undefined: this one. */
  private bestSlot(served: ServedDisk): number | undefined {
    const countOn = (thread: ClientThread | undefined) => thread?.countOn(served) ?? 0;
    const elsewhere = this.threads.reduce((sum, thread) => sum + countOn(thread), 0);
    // The client is counted already.
    const here = { slot: undefined, ofDisk: served.clientCount - 1 - elsewhere, all: this.clientsHere };
    return this.idlest(here, countOn).slot;
  }

  /** Of this thread and the others, whose clients of one disk `countOn` counts. */
  private idlest(here: Candidate, countOn: (thread: ClientThread | undefined) => number): Candidate {
    let best = here;
    for (let slot = 0; slot < this.options.count; slot++) {
      const thread = this.threads[slot];
      const one = { slot, ofDisk: countOn(thread), all: thread?.clientCount ?? 0 };
      if (isIdler(one, best)) best = one;
    }
    return best;
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

function levelOf(log: Log): ThreadLogLevel {
  if (isTraced(log)) return 'trace';
  return log.level === 'debug' ? 'debug' : 'info';
}

function descriptorOf(id: number, { fd }: MovedStream): ClientDescriptor {
  return { id, fd, taken: new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT)) };
}

function termsOf(id: number, moved: MovedClient, share: DiskShare | undefined): ClientTerms {
  const { readOnly, replies, enforceBlockSize, contexts, export: served } = moved.agreement;
  const { name, minBlockBytes, sizeBytes, capabilities } = served;
  return {
    id,
    disk: { name, minBlockBytes, sizeBytes, capabilities: { ...capabilities }, shared: share?.disk },
    readOnly,
    replies,
    enforceBlockSize,
    contexts: contexts.map(({ id: context, context: { name: contextName } }) => ({ id: context, name: contextName })),
    accounting: moved.accounting,
  };
}

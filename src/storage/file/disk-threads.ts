import { threadCount } from '../../base/thread-count.js';
import { MAX_CALLS_IN_FLIGHT } from '../../posix/posix.js';
import type { Posix } from '../../posix/posix-calls.js';

/*
 * How disks share the thread pool, so that disks that hang leave threads for the others.
 *
 * Each call that may wait for a disk takes a place: at most MOST_PER_DISK for one disk. All disks of one file system
 * together may hold no more places than are still free. So the first file system that hangs holds at most half of the
 * places, the second at most half of the rest, and so on. A file system that does not hang gets a place as long as one
 * is free. There are fewer places than threads, so the store, the log and the control API always find a thread, even if
 * every disk hangs.
 */

const MOST_PER_DISK = 8;
/** Threads that disks never take. In a pool of fewer than twice as many, half of the threads. */
const KEPT_THREADS = 8;

/** The places held by all disks of one file system or block device. */
interface FileSystemUse {
  used: number;
}

/** The places that all disks share. */
export class DiskThreads {
  /** Disks with calls that wait for a place, in the order in which they take turns. */
  readonly waiting = new Set<DiskShare>();
  private readonly fileSystems = new Map<string, FileSystemUse>();
  free: number;

  constructor(threads: number) {
    const kept = Math.min(KEPT_THREADS, Math.floor(threads / 2));
    this.free = Math.min(threads - kept, MAX_CALLS_IN_FLIGHT);
  }

  /** The share of one disk. Disks with the same `fileSystem` (any string) are likely to hang together. */
  share(fileSystem: string): DiskShare {
    let use = this.fileSystems.get(fileSystem);
    if (use === undefined) {
      use = { used: 0 };
      this.fileSystems.set(fileSystem, use);
    }
    return new DiskShare(this, use);
  }

  /** Admits waiting calls while there are places, taking one call of each disk in turn. */
  admitWaiting(): void {
    for (const share of this.waiting) {
      if (!share.mayTake) continue;
      this.waiting.delete(share);
      // The disk goes to the end of the queue. A loop over a set also visits elements that are added during the loop.
      if (share.admitFirst()) this.waiting.add(share);
    }
  }
}

/** What one disk may use of the thread pool. */
export class DiskShare {
  private readonly queue: (() => void)[] = [];
  private taken = 0;

  constructor(
    private readonly threads: DiskThreads,
    private readonly fileSystem: FileSystemUse,
  ) {}

  get mayTake(): boolean {
    return this.taken < MOST_PER_DISK && this.fileSystem.used < this.threads.free;
  }

  /** Runs a call that takes a thread, when it is this disk's turn. */
  async pass<T>(call: () => Promise<T>): Promise<T> {
    if (this.queue.length === 0 && this.mayTake) this.take();
    else {
      this.threads.waiting.add(this);
      await new Promise<void>((admit) => this.queue.push(admit));
    }
    try {
      return await call();
    } finally {
      this.taken--;
      this.fileSystem.used--;
      this.threads.free++;
      this.threads.admitWaiting();
    }
  }

  /** Admits the call that has waited longest. True if more calls wait. */
  admitFirst(): boolean {
    this.take();
    this.queue.shift()!();
    return this.queue.length > 0;
  }

  private take(): void {
    this.taken++;
    this.fileSystem.used++;
    this.threads.free--;
  }
}

/** The name of the file system with this number (st_dev), for `inShare`. */
export function fileSystemOf(device: bigint | string): string {
  return `file system ${device}`;
}

/** The places of this process. */
const diskThreads = new DiskThreads(threadCount());

/** `posix` for one disk on `fileSystem`: its calls take no more of the thread pool than the disk's share. */
export function inShare(posix: Posix, fileSystem: string): { posix: Posix; share: DiskShare } {
  const share = diskThreads.share(fileSystem);
  const limited = <Parameters extends unknown[], T>(call: (...parameters: Parameters) => Promise<T>) => {
    return (...parameters: Parameters) => share.pass(() => call(...parameters));
  };
  return {
    share,
    posix: {
      ...posix,
      read: limited(posix.read),
      write: limited(posix.write),
      sync: limited(posix.sync),
      awaitWriteback: limited(posix.awaitWriteback),
      fallocate: limited(posix.fallocate),
      seek: limited(posix.seek),
      willNeed: limited(posix.willNeed),
    },
  };
}

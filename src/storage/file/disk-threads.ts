import { threadCount } from '../../base/thread-count.js';
import { MAX_CALLS_IN_FLIGHT } from '../../posix/posix.js';
import type { Posix } from '../../posix/posix-calls.js';

/*
 * How disks share the thread pool, so that those that hang leave threads to the others.
 *
 * Each call that may wait for a disk takes a place: at most MOST_PER_DISK for one disk, and all disks of one file system
 * together never more than there are free places left. So the first file system that hangs keeps at most half of the places,
 * the second half of the rest, and so on; a file system of which nothing hangs finds a place as long as there is one. There are
 * fewer places than threads: the store, the log and the control API always find a thread, even when every disk hangs.
 */

const MOST_PER_DISK = 8;
/** Threads that disks never take, or half of a pool that is smaller than twice that. */
const KEPT_THREADS = 8;

/** The places of all disks of one file system, or on one block device. */
interface FileSystemUse {
  used: number;
}

/** The places of all disks. */
export class DiskThreads {
  /** Disks with calls that wait for a place, in the order of their turns. */
  readonly waiting = new Set<DiskShare>();
  private readonly fileSystems = new Map<string, FileSystemUse>();
  free: number;

  constructor(threads: number) {
    const kept = Math.min(KEPT_THREADS, Math.floor(threads / 2));
    this.free = Math.min(threads - kept, MAX_CALLS_IN_FLIGHT);
  }

  /** A disk's share. Disks with the same `fileSystem`, any text, are likely to hang together. */
  share(fileSystem: string): DiskShare {
    let use = this.fileSystems.get(fileSystem);
    if (use === undefined) {
      use = { used: 0 };
      this.fileSystems.set(fileSystem, use);
    }
    return new DiskShare(this, use);
  }

  /** Lets calls in that waited, one a disk at a time, for as long as there are places for them. */
  admitWaiting(): void {
    for (const share of this.waiting) {
      if (!share.mayTake) continue;
      this.waiting.delete(share);
      // It comes again behind the others. A set that is walked shows what is added meanwhile.
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

  /** Lets the call in that has waited longest. True when others wait. */
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

/** Names the file system with this number (st_dev), for `inShare`. */
export function fileSystemOf(device: bigint | string): string {
  return `file system ${device}`;
}

/** Those of this process. */
const diskThreads = new DiskThreads(threadCount());

/** The calls for one disk on `fileSystem`, which take no more of the thread pool than the disk's share. */
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

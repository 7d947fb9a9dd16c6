import { type Errno, OK } from '../../base/errno.js';
import { type DiskIdentity, isWrittenSince, lastWriteOf } from '../../storage/image/disk-identity.js';
import { WriteActivity } from '../write-activity.js';
import type { Change } from './key-value-store.js';
import { type LastSight, type Moment, momentNow, wasSetBack } from './left-disk.js';
import type { Renewal, WriteLease } from './write-lease.js';

/** Longer than the second between two turns, by as much as a commit may take without holding up a write. */
const LEASE_MILLISECONDS = 2000;
/** A store that is slow gets more time. */
const LEASE_IN_COMMITS = 3;
/** Who writes more often than that is not at rest. */
const REST_MILLISECONDS = 100;
/** A clock that is corrected by less gives times that are a little older, too. */
const PUT_BACK_MILLISECONDS = 5000;

export interface DiskWatchOptions {
  /** The disk is written by this server, and shows when others write it. */
  readonly watching: boolean;
  /** Tells what the disk is, with everything written back that the kernel counts only then. */
  readonly identify: () => Promise<DiskIdentity>;
  /** What the disk was when nothing had been written to it yet. */
  readonly seen: DiskIdentity;
  readonly bootId: string | undefined;
  /** Puts into the store what is known of the disk. */
  readonly describe: (identity: DiskIdentity, lastSight: LastSight | undefined) => Change;
  /** Stores what is prepared, if anything, when no other commit of the disk is under way. */
  readonly save: (prepare: () => Promise<readonly Change[] | undefined>) => Promise<Errno>;
  /** Renews the lease, in a commit of its own or another's. */
  readonly renew: () => Promise<Errno>;
  /** There are bitmaps to be trusted after a crash. Without any, one lease lasts for good. */
  readonly matters: () => boolean;
  readonly onOutsideChange: (reason: string) => void;
}

/**
 * Notices when somebody else changes a disk that is served, and leaves in the store what is needed to notice it after a
 * crash.
 *
 * A disk is at rest or it is written. At rest the store holds what the disk looks like, and any other look of it is
 * somebody else's doing. Before the first write the store has to hold until when writes may go on (the lease); what is
 * found to be changed later than that is somebody else's doing too. Once a second the lease is renewed, or the disk is
 * at rest again.
 */
export class DiskWatch implements WriteLease {
  readonly activity = new WriteActivity();
  held: boolean;
  private atRest = true;
  private closed = false;
  private turning = false;
  private seen: DiskIdentity;
  private seenAt: Moment;
  private sight: LastSight;
  /** Changes that had ended when `seen` was seen. */
  private seenCount = 0;
  private countAtTurn = 0;
  private leaseEnds = 0;
  private commitMilliseconds = 0;

  constructor(private readonly options: DiskWatchOptions) {
    this.seen = options.seen;
    this.seenAt = momentNow(options.bootId);
    this.sight = { moment: this.seenAt };
    this.held = !options.watching;
  }

  get isAtRest(): boolean {
    return this.atRest;
  }

  /** What the store has to say of the disk now. */
  describe(): Change {
    return this.options.describe(this.seen, this.options.watching ? this.sight : undefined);
  }

  async renew(): Promise<Renewal> {
    if (!this.options.watching) return { changes: [], granted: () => {} };
    if (this.atRest) await this.compareAtRest();
    const began = performance.now();
    const allowed = LEASE_MILLISECONDS + LEASE_IN_COMMITS * this.commitMilliseconds;
    const ends = this.options.matters() ? Date.now() + Math.ceil(allowed) : Number.POSITIVE_INFINITY;
    const sight = {
      moment: momentNow(this.options.bootId),
      writesUntil: ends === Number.POSITIVE_INFINITY ? null : ends,
    };
    const granted = () => {
      this.commitMilliseconds = Math.max(performance.now() - began, this.commitMilliseconds / 2);
      this.sight = sight;
      this.leaseEnds = ends;
      this.atRest = false;
      this.held = true;
    };
    return { changes: [this.options.describe(this.seen, sight)], granted };
  }

  /** Once a second; a turn that takes longer is not joined by the next. */
  async turn(): Promise<Errno> {
    if (!this.options.watching || this.closed || this.turning) return OK;
    this.turning = true;
    try {
      return await this.takeTurn();
    } finally {
      this.turning = false;
    }
  }

  private async takeTurn(): Promise<Errno> {
    if (this.atRest) return this.seen.kind === 'file' ? this.lookAtRest() : OK;
    const { count, pending } = this.activity;
    const isQuiet = pending === 0 && count === this.countAtTurn;
    this.countAtTurn = count;
    if (isQuiet) return this.rest();
    if (this.leaseEnds === Number.POSITIVE_INFINITY && !this.options.matters()) return OK;
    if (Date.now() > this.leaseEnds) this.held = false;
    return this.options.renew();
  }

  /** Stores what the disk looks like, unless it is being written. */
  async rest(): Promise<Errno> {
    if (!this.options.watching || this.closed || this.atRest || !this.isQuiet()) return OK;
    // A device is flushed by this, before others have to wait for it.
    if (this.seen.kind === 'block device') await this.tryIdentify();
    return this.options.save(async () => {
      const isSeen = !this.atRest && (await this.look());
      if (!isSeen) return undefined;
      this.held = false;
      this.atRest = true;
      this.sight = { moment: momentNow(this.options.bootId) };
      return [this.describe()];
    });
  }

  /** Looks whether somebody else has changed the disk, as far as that can be told from what this server does to it. */
  async check(): Promise<void> {
    if (!this.options.watching || this.closed) return;
    if (this.atRest) await this.lookAtRest();
    else if (this.seen.kind === 'file') await this.look();
  }

  /** The disk has become another in some way by this server's doing. Nothing may be under way. */
  follow(seen: DiskIdentity): void {
    this.note(seen);
    this.held = !this.options.watching;
    this.atRest = true;
    this.sight = { moment: momentNow(this.options.bootId) };
  }

  /** Notices what is not this server's doing; nothing of that may be under way. */
  judge(now: DiskIdentity): void {
    if (!this.options.watching) return;
    const { count } = this.activity;
    const isExplained = count === this.seenCount ? !isWrittenSince(this.seen, now) : this.isOfOwnWrites(now);
    this.note(now);
    if (!isExplained) this.options.onOutsideChange('another program changed the disk while it was served');
  }

  /** The disk is looked at no more, for it is about to be closed. */
  close(): void {
    this.closed = true;
  }

  /** A write of this server gives the file the time of that moment, which lies between its last look and now. */
  private isOfOwnWrites(now: DiskIdentity): boolean {
    const [writtenAt, writtenBefore] = [lastWriteOf(now), lastWriteOf(this.seen)];
    if (writtenAt === undefined || writtenBefore === undefined) return true;
    // A file may come with a time that is still to come.
    const isPutBack = writtenAt < Math.min(writtenBefore, this.seenAt.at) - PUT_BACK_MILLISECONDS;
    if (isPutBack && !wasSetBack(this.seenAt, momentNow(this.options.bootId))) return false;
    return writtenAt <= this.activity.lastEndedAt;
  }

  private note(seen: DiskIdentity): void {
    this.seen = seen;
    this.seenAt = momentNow(this.options.bootId);
    this.seenCount = this.activity.count;
  }

  private isQuiet(): boolean {
    const { pending, lastEndedAt } = this.activity;
    return pending === 0 && Math.abs(Date.now() - lastEndedAt) >= REST_MILLISECONDS;
  }

  /** What is done to the file besides writing it (another owner, another name) is stored, so that it is no surprise after a crash. */
  private lookAtRest(): Promise<Errno> {
    return this.options.save(async () => {
      const { modifiedAt, changedAt } = this.seen;
      const now = this.atRest ? await this.tryIdentify() : undefined;
      if (!now) return undefined;
      this.judge(now);
      return modifiedAt === now.modifiedAt && changedAt === now.changedAt ? undefined : [this.describe()];
    });
  }

  private async compareAtRest(): Promise<void> {
    const now = await this.tryIdentify();
    if (now) this.judge(now);
    else this.options.onOutsideChange('it is not known whether another program changed the disk while it was served');
  }

  private async tryIdentify(): Promise<DiskIdentity | undefined> {
    if (this.closed) return undefined;
    return this.options.identify().catch(() => undefined);
  }

  /** False when writes of this server are under way, so that nothing can be said. */
  private async look(): Promise<boolean> {
    const { count, pending } = this.activity;
    if (pending > 0) return false;
    const now = await this.tryIdentify();
    if (!now || this.activity.pending > 0 || this.activity.count !== count) return false;
    this.judge(now);
    return true;
  }
}

import { uptime } from 'node:os';
import type { Ground } from '../../api/values.js';
import { formatSize, SECTOR_BYTES } from '../../base/units.js';
import {
  changedSince,
  type DiskIdentity,
  lastChangeOf,
  otherDisk,
  writtenSince,
} from '../../storage/image/disk-identity.js';
import { countedSectors, isSameCount } from '../../storage/image/write-counters.js';

/** A point in time by two clocks, so that a change to one of them can be detected. */
export interface Moment {
  /** Identifies the boot of the machine; missing if the kernel does not report it. */
  readonly bootId?: string;
  /** Wall-clock time in milliseconds since 1970. */
  readonly at: number;
  /** Seconds since the boot. */
  readonly upSeconds: number;
}

/** What was stored about a disk while it was served, for use if it was not closed. */
export interface LastSight {
  readonly moment: Moment;
  /**
   * The time before which the server's own writes ended, in milliseconds since 1970; null: no limit. Undefined when the
   * disk was at rest: nothing was written since its identity was read.
   */
  readonly writesUntil?: number | null;
  /** For a block device that was ever written: the path of the `SharedNumber` that holds `ExplainedWrites.limit`. */
  readonly limitPath?: string;
}

/** The store's entry for a disk, in JSON. */
export interface StoredExport {
  readonly identity: DiskIdentity;
  readonly regionBytes: number;
  /** The disk was closed with exact bits before its identity was read, or is served read-only, so they stay exact. */
  readonly clean: boolean;
  /** Another export that served the disk since, so that writes are missing from these bitmaps. */
  readonly servedAs?: string;
  readonly lastSight?: LastSight;
  /** For a block device that was closed: the result of `witnessOf`. */
  readonly witness?: string;
}

export type Judgement = { readonly untrue: string } | { readonly ground: Ground };

const OTHER_CONTENT = 'its content changed while it was not served, at its ends or in a sampled block';

/** Whether only the content can show that the disk was written: its write counter was reset, or is not exact. */
export function needsWitness({ clean, identity, witness }: StoredExport, now: DiskIdentity): boolean {
  if (!clean || witness === undefined) return false;
  return !isSameCount(identity.counters, now.counters) || now.counters?.hasBorders === true;
}

/** Kernel timestamps are coarse, and a write may begin a little later than it was admitted. */
const GRACE_MILLISECONDS = 100;
/** Twice the error of the time since the boot. */
const CLOCK_TOLERANCE_SECONDS = 3;

export function momentNow(bootId: string | undefined): Moment {
  return { ...(bootId !== undefined && { bootId }), at: Date.now(), upSeconds: upSeconds() };
}

/** To read the uptime costs more than the rest of a tick of an idle disk, because it opens a file in /proc. */
const UPTIME_KEPT_MILLISECONDS = 20;
let uptimeRead = { seconds: 0, at: Number.NEGATIVE_INFINITY };

function upSeconds(): number {
  const now = performance.now();
  if (now - uptimeRead.at > UPTIME_KEPT_MILLISECONDS) uptimeRead = { seconds: uptime(), at: now };
  return uptimeRead.seconds + (now - uptimeRead.at) / 1000;
}

/** Decides whether bitmaps still describe their disk, by comparing the store's entry with the disk as it is now. */
export function judge(
  before: StoredExport,
  now: DiskIdentity,
  moment: Moment,
  { witness, limit }: { readonly witness?: string | undefined; readonly limit?: number | undefined } = {},
): Judgement {
  if (before.servedAs !== undefined) return { untrue: `it was served as "${before.servedAs}" in the meantime` };
  const untrue = before.clean ? changedSince(before.identity, now) : changedSinceCrash(before, now, moment, limit);
  if (untrue !== undefined) return { untrue };
  if (!needsWitness(before, now)) return { ground: groundFor(before, now, limit) };
  if (witness === undefined) return { untrue: 'its write counter does not show all, and its content cannot be read' };
  if (witness !== before.witness) return { untrue: OTHER_CONTENT };
  return { ground: isSameCount(before.identity.counters, now.counters) ? 'counters' : 'witnesses' };
}

function groundFor({ identity: before, clean, lastSight }: StoredExport, now: DiskIdentity, limit?: number): Ground {
  const isWritten = !clean && lastSight?.writesUntil !== undefined;
  if (isSameCount(before.counters, now.counters)) {
    if (!isWritten) return 'counters';
    return limit === undefined ? 'write-intent' : 'write-count';
  }
  if (before.kind === 'block device') return 'identity';
  if (clean) return 'times';
  return lastSight && lastSight.writesUntil !== null && now.localTimes ? 'heartbeat' : 'identity';
}

function changedSinceCrash(
  { identity: before, lastSight }: StoredExport,
  now: DiskIdentity,
  moment: Moment,
  limit: number | undefined,
) {
  const other = otherDisk(before, now);
  if (other !== undefined || !lastSight) return other;
  if (lastSight.writesUntil === undefined) return changedSinceRest(before, lastSight, now, moment);
  const counted = countedBeyond(limit, before, now);
  if (counted !== undefined) return counted;
  const changedAt = lastChangeOf(now);
  if (changedAt === undefined || lastSight.writesUntil === null) return undefined;
  if (wasSetBack(lastSight.moment, moment)) return CLOCK_SET_BACK;
  if (isSameBoot(lastSight.moment, moment) && isPutBack(before, now))
    return 'its file system was rolled back to an older state';
  if (changedAt <= lastSight.writesUntil + GRACE_MILLISECONDS) return undefined;
  const [changed, life] = [changedAt, lastSight.writesUntil].map((at) => new Date(at).toISOString());
  return `changed at ${changed}, after the server's last sign of life, which was good until ${life}`;
}

function countedBeyond(limit: number | undefined, { counters: before }: DiskIdentity, { counters: now }: DiskIdentity) {
  if (limit === undefined || !before || !now || !isSameCount(before, now)) return undefined;
  const counted = countedSectors(now);
  if (counted < countedSectors(before)) return "the kernel's count of what was written to it went down";
  if (counted <= limit) return undefined;
  const more = formatSize((counted - limit) * SECTOR_BYTES);
  return `written after its server was killed: ${more} by the kernel's count`;
}

/** For a disk that was at rest. A power loss may bring back older timestamps, because nothing makes them durable. */
function changedSinceRest(before: DiskIdentity, { moment: then }: LastSight, now: DiskIdentity, moment: Moment) {
  const written = writtenSince(before, now);
  if (written === undefined || then.bootId === moment.bootId) return written;
  const [changedBefore, changedNow] = [lastChangeOf(before), lastChangeOf(now)];
  if (changedBefore === undefined || changedNow === undefined || changedNow > changedBefore) return written;
  return wasSetBack(then, moment) ? CLOCK_SET_BACK : undefined;
}

/** Programs cannot set a file's change time back; only a power loss or a restored file system does. */
function isPutBack(before: DiskIdentity, now: DiskIdentity): boolean {
  const nanoseconds = BigInt(before.changedAt ?? 0) - BigInt(now.changedAt ?? 0);
  return nanoseconds > BigInt(CLOCK_TOLERANCE_SECONDS) * 1_000_000_000n;
}

function isSameBoot(then: Moment, now: Moment): boolean {
  return then.bootId !== undefined && then.bootId === now.bootId;
}

const CLOCK_SET_BACK =
  "the clock was set back, so the file's timestamps do not show whether other programs wrote to it";

/** Whether the wall clock may have repeated times since then. */
export function wasSetBack(then: Moment, now: Moment): boolean {
  if (!isSameBoot(then, now)) return now.at < then.at;
  const bootedAt = ({ at, upSeconds }: Moment) => at / 1000 - upSeconds;
  return bootedAt(now) < bootedAt(then) - CLOCK_TOLERANCE_SECONDS;
}

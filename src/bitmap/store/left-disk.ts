import { uptime } from 'node:os';
import {
  changedSince,
  type DiskIdentity,
  lastChangeOf,
  otherDisk,
  writtenSince,
} from '../../storage/image/disk-identity.js';
import { isSameCount } from '../../storage/image/write-counters.js';

/** A point in time by two clocks, so that it shows when one of them was set. */
export interface Moment {
  /** Of the boot of the machine, where the kernel tells it. */
  readonly bootId?: string;
  /** By the wall clock, in milliseconds since 1970. */
  readonly at: number;
  /** Since the boot, in seconds. */
  readonly upSeconds: number;
}

/** What is known of a disk that was not closed. Where it is missing nothing was stored about that. */
export interface LastSight {
  readonly moment: Moment;
  /**
   * The server's own writes end before this, in milliseconds since 1970; null: there is no such time. Undefined when the
   * disk was at rest: nothing was written since its identity was taken.
   */
  readonly writesUntil?: number | null;
}

/** What the store says of a disk, in JSON. */
export interface StoredExport {
  readonly identity: DiskIdentity;
  readonly regionBytes: number;
  /** The disk was closed with exact bits, and its identity taken after that; or is served read-only, which keeps it so. */
  readonly clean: boolean;
  /** The export as which it was served since, where its changes did not come into these bitmaps. */
  readonly servedAs?: string;
  readonly lastSight?: LastSight;
  /** Of a block device that was closed: as `witnessOf` tells. */
  readonly witness?: string;
}

/** On what ground the bitmaps of a disk are trusted. The text is for people. */
export const grounds = {
  new: 'nothing was known of the disk before',
  times: "the file's times of change are those that it was left with",
  heartbeat: "the file was not changed after the server's last sign of life",
  counters: 'the kernel counts no write to the device since it was left',
  witnesses: 'both ends of the device and 256 blocks of it are as they were left; the rest was not compared',
  'write-intent':
    'the server was killed while it wrote; writes of others to the device since then would not be noticed',
  identity: 'it is the same disk; writes of others while it was not served would not be noticed',
} as const;

export type Ground = keyof typeof grounds;

export type Judgement = { readonly untrue: string } | { readonly ground: Ground };

const OTHER_CONTENT = 'its content changed while it was not served, at its ends or in the blocks that are compared';

/** Whether only a look at the content tells if the disk was written: it is counted anew since. */
export function needsWitness({ clean, identity, witness }: StoredExport, now: DiskIdentity): boolean {
  return clean && witness !== undefined && !isSameCount(identity.counters, now.counters);
}

/** Kernels count time in steps, and a write may begin a little later than it was admitted. */
const GRACE_MILLISECONDS = 100;
/** How exactly the time since the boot is told, twice. */
const CLOCK_TOLERANCE_SECONDS = 3;

export function momentNow(bootId: string | undefined): Moment {
  return { ...(bootId !== undefined && { bootId }), at: Date.now(), upSeconds: uptime() };
}

/** Whether bitmaps still describe their disk: from what the store says of it, and what it is found to be. */
export function judge(before: StoredExport, now: DiskIdentity, moment: Moment, witness?: string): Judgement {
  if (before.servedAs !== undefined) return { untrue: `it was served as "${before.servedAs}" meanwhile` };
  const untrue = before.clean ? changedSince(before.identity, now) : changedSinceCrash(before, now, moment);
  if (untrue !== undefined) return { untrue };
  if (!needsWitness(before, now)) return { ground: groundFor(before, now) };
  if (witness === undefined) return { untrue: 'it was counted anew since, and its content cannot be read' };
  return witness === before.witness ? { ground: 'witnesses' } : { untrue: OTHER_CONTENT };
}

function groundFor({ identity: before, clean, lastSight }: StoredExport, now: DiskIdentity): Ground {
  const isWritten = !clean && lastSight?.writesUntil !== undefined;
  if (isSameCount(before.counters, now.counters)) return isWritten ? 'write-intent' : 'counters';
  if (before.kind === 'block device') return 'identity';
  if (clean) return 'times';
  return lastSight && lastSight.writesUntil !== null && now.localTimes ? 'heartbeat' : 'identity';
}

function changedSinceCrash({ identity: before, lastSight }: StoredExport, now: DiskIdentity, moment: Moment) {
  const other = otherDisk(before, now);
  if (other !== undefined || !lastSight) return other;
  if (lastSight.writesUntil === undefined) return changedSinceRest(before, lastSight, now, moment);
  const changedAt = lastChangeOf(now);
  if (changedAt === undefined || lastSight.writesUntil === null) return undefined;
  if (wasSetBack(lastSight.moment, moment)) return CLOCK_SET_BACK;
  if (isSameBoot(lastSight.moment, moment) && isPutBack(before, now))
    return 'its file system was put back to an older state';
  if (changedAt <= lastSight.writesUntil + GRACE_MILLISECONDS) return undefined;
  const [changed, life] = [changedAt, lastSight.writesUntil].map((at) => new Date(at).toISOString());
  return `changed at ${changed}, after the server's last sign of life, which was good until ${life}`;
}

/** Nothing was written when the server ended. But a power loss may bring back older times, as nobody makes them durable. */
function changedSinceRest(before: DiskIdentity, { moment: then }: LastSight, now: DiskIdentity, moment: Moment) {
  const written = writtenSince(before, now);
  if (written === undefined || then.bootId === moment.bootId) return written;
  const [changedBefore, changedNow] = [lastChangeOf(before), lastChangeOf(now)];
  if (changedBefore === undefined || changedNow === undefined || changedNow > changedBefore) return written;
  return wasSetBack(then, moment) ? CLOCK_SET_BACK : undefined;
}

/** Nobody can give a file an older time of change, and only a power loss takes one back. */
function isPutBack(before: DiskIdentity, now: DiskIdentity): boolean {
  const nanoseconds = BigInt(before.changedAt ?? 0) - BigInt(now.changedAt ?? 0);
  return nanoseconds > BigInt(CLOCK_TOLERANCE_SECONDS) * 1_000_000_000n;
}

function isSameBoot(then: Moment, now: Moment): boolean {
  return then.bootId !== undefined && then.bootId === now.bootId;
}

const CLOCK_SET_BACK = "the clock was set back, so the file's times do not tell whether others wrote to it";

/** Whether the wall clock may since have told times that it had told before. */
export function wasSetBack(then: Moment, now: Moment): boolean {
  if (!isSameBoot(then, now)) return now.at < then.at;
  const bootedAt = ({ at, upSeconds }: Moment) => at / 1000 - upSeconds;
  return bootedAt(now) < bootedAt(then) - CLOCK_TOLERANCE_SECONDS;
}

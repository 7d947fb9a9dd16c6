import { assert } from '../base/assert.js';
import { BitArray } from '../base/bit-array.js';
import type { ExtentList } from '../base/extents.js';
import type { Steps } from '../base/steps.js';
import { type BitmapOperation, type Obstacle, refusalFor, refusedBy } from './bitmap-refusals.js';
import { commonBytesOf, dirtyBytesOf, union } from './dirty-bits.js';

/** What is marked run by run in about a millisecond, if every other granule is dirty. */
const MARKED_GRANULES = 2 ** 15;

/** Status of an extent that was written since the bitmap's base. */
export const DIRTY = 1;

/**
 * What a bitmap counts from: the committed backup that `backup` names, or nothing that a backup has. `none` says why:
 * it is new, or what was done to it since has broken the chain.
 */
export type BitmapBase = { readonly backup: string } | { readonly none: 'new' | 'cleared' | 'merged' | 'disabled' };

export interface DirtyBitmapOptions {
  readonly name: string;
  readonly diskBytes: number;
  readonly granularityBytes: number;
  readonly enabled: boolean;
  readonly persistent: boolean;
  readonly base?: BitmapBase | undefined;
  /** Made by a backup that is under way; it goes again with that. */
  readonly provisional?: boolean | undefined;
}

/**
 * One bit per granule of a disk, set when the granule was written since the bitmap's base.
 *
 * Before a sensitive operation the bitmap is frozen: it gets a successor, an anonymous record that takes the writes
 * from then on. On success the bitmap abdicates, and the successor's bits are its own; on failure they are reclaimed
 * into it. While it is frozen `extents` shows both together, all writes since the base, and `frozenExtents` what
 * was frozen.
 */
export class DirtyBitmap {
  readonly name: string;
  readonly granularityBytes: number;
  readonly persistent: boolean;
  /** Set once the bitmap is removed from its disk: what it says is of no use any more. */
  removed = false;
  /** How often it was frozen, so that each who did knows whether it still is by them. */
  freezes = 0;
  private disk: number;
  private bits: BitArray;
  /** Records in place of `bits` while the bitmap is frozen. */
  private successor: BitArray | undefined;
  /** Holds for the bitmap and its successor alike, for it cannot be changed while there are both. */
  private enabled: boolean;
  private inconsistency: string | undefined;
  private countsFrom: BitmapBase;
  private madeByBackup: boolean;

  constructor(options: DirtyBitmapOptions) {
    const { name, diskBytes, granularityBytes, enabled, persistent } = options;
    this.name = name;
    this.granularityBytes = granularityBytes;
    this.persistent = persistent;
    this.disk = diskBytes;
    this.enabled = enabled;
    this.countsFrom = options.base ?? { none: 'new' };
    this.madeByBackup = options.provisional ?? false;
    this.bits = this.emptyBits();
  }

  /** Bytes of the disk that it describes. */
  get sizeBytes(): number {
    return this.disk;
  }

  /** Writes are recorded, here or in the successor. */
  get recording(): boolean {
    return this.enabled;
  }

  /** In use by an operation, which holds it frozen. */
  get busy(): boolean {
    return this.successor !== undefined;
  }

  /** Why it cannot be trusted; undefined when it can. */
  get inconsistent(): string | undefined {
    return this.inconsistency;
  }

  get base(): BitmapBase {
    return this.countsFrom;
  }

  /** It was made by a backup that is under way. */
  get provisional(): boolean {
    return this.madeByBackup;
  }

  /** Bytes that it calls dirty, written before it was frozen or since. */
  get dirtyBytes(): number {
    const { bits, successor, granularityBytes, disk } = this;
    const dirty = dirtyBytesOf(bits, granularityBytes, disk);
    if (!successor) return dirty;
    return (
      dirty + dirtyBytesOf(successor, granularityBytes, disk) - commonBytesOf(bits, successor, granularityBytes, disk)
    );
  }

  /** The bits that take writes now; undefined when none do. */
  recordingBits(): BitArray | undefined {
    return this.enabled ? (this.successor ?? this.bits) : undefined;
  }

  /** @throws CodedError when the bitmap's state refuses that operation */
  check(operation: BitmapOperation): void {
    const obstacle = refusedBy[operation].find((candidate) => this.has(candidate));
    if (obstacle) throw refusalFor(this.name, operation, obstacle);
  }

  /** Appends DIRTY and clean extents of the range, as far as `list` takes them: all writes since the base. */
  extents(offset: number, length: number, list: ExtentList): void {
    const parts = this.successor ? [this.bits, this.successor] : [this.bits];
    this.describe(parts, offset, length, list);
  }

  /** The same of what was frozen. */
  frozenExtents(offset: number, length: number, list: ExtentList): void {
    assert(this.successor !== undefined, 'only a frozen bitmap has frozen content');
    this.describe([this.bits], offset, length, list);
  }

  /** The bits themselves, and the successor's, for whoever stores them; replaced by others as the bitmap changes. */
  get arrays(): { readonly bits: BitArray; readonly successor: BitArray | undefined } {
    return { bits: this.bits, successor: this.successor };
  }

  /** Returns what takes it back. */
  enable(): () => void {
    this.check('enable');
    const before = this.enabled;
    this.enabled = true;
    return () => {
      this.enabled = before;
    };
  }

  /** What is written from now on is missing, so no base fits any more. Returns what takes it back. */
  disable(): () => void {
    this.check('disable');
    const before = { enabled: this.enabled, base: this.countsFrom };
    this.enabled = false;
    this.countsFrom = { none: 'disabled' };
    return () => {
      this.enabled = before.enabled;
      this.countsFrom = before.base;
    };
  }

  /** Makes every granule clean. Returns what brings the bits back. */
  clear(): () => void {
    this.check('clear');
    return this.replaceBits(this.emptyBits(), undefined, { none: 'cleared' });
  }

  /**
   * Marks whatever the sources have dirty, all or nothing, in steps during which none of them may change. Gives what brings
   * the bits back.
   */
  *merging(sources: readonly DirtyBitmap[]): Steps<() => void> {
    this.check('merge-into');
    for (const source of sources) source.check('merge-from');
    const merged = yield* this.bits.copying();
    for (const source of sources) {
      if (source.granularityBytes === this.granularityBytes) yield* merged.adding(source.bits);
      else yield* this.marking(merged, source);
      yield;
    }
    return this.replaceBits(merged, undefined, { none: 'merged' });
  }

  /** Freezes the bitmap; its successor records from now on, if the bitmap did. Returns what takes it back. */
  createSuccessor(): () => void {
    this.check('create-successor');
    this.freezes++;
    return this.replaceBits(this.bits, this.emptyBits());
  }

  /**
   * The operation succeeded: what the successor has recorded is all that is dirty since then, and `backup` is the base.
   * Returns what takes it back.
   */
  abdicate(backup: string): () => void {
    this.check('abdicate');
    const { madeByBackup } = this;
    const undo = this.replaceBits(this.successor!, undefined, { backup });
    this.madeByBackup = false;
    return () => {
      undo();
      this.madeByBackup = madeByBackup;
    };
  }

  /** The operation failed: everything recorded before and since is dirty. Returns what takes it back. */
  reclaim(): () => void {
    this.check('reclaim');
    return this.replaceBits(union(this.bits, this.successor!));
  }

  /** Nothing it says can be trusted any more; `reason` is for people. It records no further. */
  markInconsistent(reason: string): void {
    this.inconsistency ??= reason;
    this.enabled = false;
    this.successor = undefined;
  }

  /** Follows the disk to another size. A new tail is dirty, for no base has it. */
  resize(diskBytes: number): void {
    const before = this.disk;
    this.disk = diskBytes;
    this.bits = this.bits.resized(this.granules());
    this.successor = this.successor?.resized(this.granules());
    const newest = this.successor ?? this.bits;
    if (diskBytes > before) markRange(newest, this.granularityBytes, before, diskBytes - before);
  }

  /** Marks in an array of this granularity what a bitmap of another has dirty. */
  private *marking(merged: BitArray, { bits, granularityBytes, disk }: DirtyBitmap): Steps<void> {
    const { length } = bits;
    for (let from = bits.nextSet(0, length); from >= 0; from = bits.nextSet(from, length)) {
      const end = Math.min(from + MARKED_GRANULES, length);
      bits.eachRun(from, end, (first, last) => {
        const offset = first * granularityBytes;
        markRange(merged, this.granularityBytes, offset, Math.min(last * granularityBytes, disk) - offset);
      });
      yield;
      if (end === length) return;
      from = end;
    }
  }

  private has(obstacle: Obstacle): boolean {
    switch (obstacle) {
      case 'busy':
      case 'successor':
        return this.successor !== undefined;
      case 'no-successor':
        return this.successor === undefined;
      case 'inconsistent':
        return this.inconsistency !== undefined;
    }
  }

  private granules(): number {
    return Math.ceil(this.disk / this.granularityBytes);
  }

  private emptyBits(): BitArray {
    return new BitArray(this.granules());
  }

  private replaceBits(bits: BitArray, successor?: BitArray, base = this.countsFrom): () => void {
    const before = { ...this.arrays, base: this.countsFrom };
    this.bits = bits;
    this.successor = successor;
    this.countsFrom = base;
    return () => {
      this.bits = before.bits;
      this.successor = before.successor;
      this.countsFrom = before.base;
    };
  }

  /** Appends the extents of the union of `parts`. A tail that a growing disk has and this does not know yet is dirty. */
  private describe(parts: readonly BitArray[], offset: number, length: number, list: ExtentList): void {
    const end = Math.min(offset + length, this.disk);
    const granules = Math.ceil(end / this.granularityBytes);
    let at = offset;
    let granule = Math.floor(offset / this.granularityBytes);
    while (at < end) {
      const dirtyFrom = Math.min(...parts.map((bits) => orEnd(bits.nextSet(granule, granules), granules)));
      const dirtyAt = Math.min(Math.max(dirtyFrom * this.granularityBytes, at), end);
      if (dirtyAt > at && !list.add(dirtyAt - at, 0)) return;
      at = dirtyAt;
      granule = dirtyFrom;
      // One part after the other, as far as each reaches: equal neighbours are one extent in the list.
      const cleanFrom = Math.max(...parts.map((bits) => runEnd(bits, granule, granules)));
      const cleanAt = Math.min(cleanFrom * this.granularityBytes, end);
      if (cleanAt > at && !list.add(cleanAt - at, DIRTY)) return;
      at = cleanAt;
      granule = cleanFrom;
    }
    if (at < offset + length) list.add(offset + length - at, DIRTY);
  }
}

/** Where the run of set bits at `from` ends; `from` itself when that bit is clear. */
function runEnd(bits: BitArray, from: number, end: number): number {
  return orEnd(bits.nextClear(from, end), end);
}

function orEnd(bit: number, end: number): number {
  return bit < 0 ? end : bit;
}

function markRange(bits: BitArray, granularityBytes: number, offset: number, length: number): void {
  bits.setRange(Math.floor(offset / granularityBytes), Math.floor((offset + length - 1) / granularityBytes) + 1);
}

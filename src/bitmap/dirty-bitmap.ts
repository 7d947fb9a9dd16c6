import { assert } from '../base/assert.js';
import { BitArray } from '../base/bit-array.js';
import type { ExtentList } from '../base/extents.js';
import type { Steps } from '../base/steps.js';
import { type BitmapOperation, type Obstacle, refusalFor, refusedBy } from './bitmap-refusals.js';
import { commonBytesOf, dirtyBytesOf, union } from './dirty-bits.js';

/** Granules that can be marked run by run in about a millisecond when every other one is dirty. */
const MARKED_GRANULES = 2 ** 15;

/** Status of an extent written since the bitmap's base. */
export const DIRTY = 1;

/**
 * What a bitmap counts from: the committed backup named by `backup`, or no backup at all. `none` gives the reason: the
 * bitmap is new, or a later operation broke the chain.
 */
export type BitmapBase = { readonly backup: string } | { readonly none: 'new' | 'cleared' | 'merged' | 'disabled' };

export interface DirtyBitmapOptions {
  readonly name: string;
  readonly diskBytes: number;
  readonly granularityBytes: number;
  readonly enabled: boolean;
  readonly persistent: boolean;
  readonly base?: BitmapBase | undefined;
  /** Created by a backup that is still active; it is removed if that backup fails. */
  readonly provisional?: boolean | undefined;
}

/**
 * One bit per granule of a disk, set when the granule was written since the bitmap's base.
 *
 * A backup freezes the bitmap: it gets a successor, a second bit array that records writes from then on. If the backup
 * succeeds, the bitmap abdicates: the successor's bits replace its own. If it fails, the successor's bits are merged
 * back (reclaimed). While the bitmap is frozen, `extents` shows both arrays together, which is everything written
 * since the base; `frozenExtents` shows only what was frozen.
 */
export class DirtyBitmap {
  readonly name: string;
  readonly granularityBytes: number;
  readonly persistent: boolean;
  /** True once the bitmap is removed from its disk; its content no longer means anything. */
  removed = false;
  /** How often it was frozen. A backup remembers its own count, to tell whether the current freeze is still its own. */
  freezes = 0;
  private disk: number;
  private bits: BitArray;
  /** Records in place of `bits` while the bitmap is frozen. */
  private successor: BitArray | undefined;
  /** Applies to the bitmap and its successor alike, because it cannot change while the bitmap is frozen. */
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

  /** Size of the disk in bytes. */
  get sizeBytes(): number {
    return this.disk;
  }

  /** Whether writes are recorded, in this bitmap or its successor. */
  get recording(): boolean {
    return this.enabled;
  }

  /** Whether it is frozen by an operation. */
  get busy(): boolean {
    return this.successor !== undefined;
  }

  /** Why the bitmap cannot be trusted; undefined when it can. */
  get inconsistent(): string | undefined {
    return this.inconsistency;
  }

  get base(): BitmapBase {
    return this.countsFrom;
  }

  /** Whether it was created by a backup that is still active. */
  get provisional(): boolean {
    return this.madeByBackup;
  }

  /** Dirty bytes, including those written since the bitmap was frozen. */
  get dirtyBytes(): number {
    const { bits, successor, granularityBytes, disk } = this;
    const dirty = dirtyBytesOf(bits, granularityBytes, disk);
    if (!successor) return dirty;
    return (
      dirty + dirtyBytesOf(successor, granularityBytes, disk) - commonBytesOf(bits, successor, granularityBytes, disk)
    );
  }

  /** The bits that record writes now; undefined when the bitmap is disabled. */
  recordingBits(): BitArray | undefined {
    return this.enabled ? (this.successor ?? this.bits) : undefined;
  }

  /** @throws CodedError when the bitmap's state refuses that operation */
  check(operation: BitmapOperation): void {
    const obstacle = refusedBy[operation].find((candidate) => this.has(candidate));
    if (obstacle) throw refusalFor(this.name, operation, obstacle);
  }

  /** Appends the DIRTY and clean extents of the range until `list` is full. Covers all writes since the base. */
  extents(offset: number, length: number, list: ExtentList): void {
    const parts = this.successor ? [this.bits, this.successor] : [this.bits];
    this.describe(parts, offset, length, list);
  }

  /** Like `extents`, but covers only what was written before the freeze. */
  frozenExtents(offset: number, length: number, list: ExtentList): void {
    assert(this.successor !== undefined, 'only a frozen bitmap has frozen content');
    this.describe([this.bits], offset, length, list);
  }

  /** The bit arrays, for the code that stores them. Changes to the bitmap replace them with new arrays. */
  get arrays(): { readonly bits: BitArray; readonly successor: BitArray | undefined } {
    return { bits: this.bits, successor: this.successor };
  }

  /** Returns the undo. */
  enable(): () => void {
    this.check('enable');
    const before = this.enabled;
    this.enabled = true;
    return () => {
      this.enabled = before;
    };
  }

  /** Stops recording. Later writes are missing, so the bitmap loses its base. Returns the undo. */
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

  /** Makes every granule clean. Returns the undo. */
  clear(): () => void {
    this.check('clear');
    return this.replaceBits(this.emptyBits(), undefined, { none: 'cleared' });
  }

  /**
   * Marks everything that is dirty in the sources, or nothing if one of them is refused. Runs in steps, during which no
   * source may change. Returns the undo.
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

  /** Freezes the bitmap; if it was recording, its successor records from now on. Returns the undo. */
  createSuccessor(): () => void {
    this.check('create-successor');
    this.freezes++;
    return this.replaceBits(this.bits, this.emptyBits());
  }

  /**
   * Ends a freeze after success: `backup` becomes the base, and only what the successor recorded stays dirty. Returns
   * the undo.
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

  /** Ends a freeze after failure: everything recorded before and since is dirty. Returns the undo. */
  reclaim(): () => void {
    this.check('reclaim');
    return this.replaceBits(union(this.bits, this.successor!));
  }

  /** The bitmap can no longer be trusted and stops recording; `reason` is shown to users. */
  markInconsistent(reason: string): void {
    this.inconsistency ??= reason;
    this.enabled = false;
    this.successor = undefined;
  }

  /** Resizes the bitmap with the disk. A new tail is dirty, because no base contains it. */
  resize(diskBytes: number): void {
    const before = this.disk;
    this.disk = diskBytes;
    this.bits = this.bits.resized(this.granules());
    this.successor = this.successor?.resized(this.granules());
    const newest = this.successor ?? this.bits;
    if (diskBytes > before) markRange(newest, this.granularityBytes, before, diskBytes - before);
  }

  /** Marks in an array of this granularity what is dirty in a bitmap of another granularity. */
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

  /** Appends the extents of the union of `parts`. A range beyond the end of this bitmap is dirty. */
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
      // This may add less than the whole dirty run; the list joins equal neighbours.
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

import type { BitArray } from '../base/bit-array.js';
import { CodedError } from '../base/coded-error.js';
import { type Errno, OK } from '../base/errno.js';
import { slicesOf } from '../base/extents.js';
import { giveWay } from '../base/loop-share.js';
import type { Steps } from '../base/steps.js';
import { checkGranularity, checkName, DEFAULT_GRANULARITY_BYTES, usualGranularity } from './bitmap-limits.js';
import type { BitmapBase, Freeze } from './bitmap-state.js';
import { type ChangeRecorder, sliceBytesFor } from './change-recorder.js';
import { DirtyBitmap, type DirtyBitmapOptions } from './dirty-bitmap.js';
import type { Undo } from './undo.js';

export interface NewBitmap {
  readonly name: string;
  /** A power of two from 512 to 2^31; 64 KiB by default. */
  readonly granularityBytes?: number;
  /** Created without recording. */
  readonly disabled?: boolean;
  readonly persistent?: boolean;
  /** Created by a backup that is still active. */
  readonly provisional?: boolean;
}

/** What the store keeps of a bitmap between two runs; `bits` and `successor` are the numbers of its arrays. */
export interface StoredState {
  readonly granularityBytes: number;
  readonly enabled: boolean;
  readonly inconsistent?: string;
  readonly base?: BitmapBase;
  /** Created by a backup that is still active. */
  readonly provisional?: true;
  readonly bits: number;
  readonly successor?: number;
}

/**
 * The bitmaps of one disk, in the order in which they were added. Writes are recorded in memory only, so recording
 * never waits; the write-intent log does the rest for persistent bitmaps.
 */
export class BitmapSet implements ChangeRecorder {
  private readonly bitmaps = new Map<string, DirtyBitmap>();
  /** The bits that record writes now and the granularity of each; persistent bitmaps come first. */
  private recordingBits: BitArray[] = [];
  private recordingGranularities: number[] = [];
  private persistentRecording = 0;
  private slice = sliceBytesFor([]);
  /** When and why none of the bitmaps could be trusted any more, the last time. */
  private distrusted: { readonly reason: string } | undefined;

  constructor(private diskBytes: number) {}

  list(): DirtyBitmap[] {
    return [...this.bitmaps.values()];
  }

  find(name: string): DirtyBitmap | undefined {
    return this.bitmaps.get(name);
  }

  /** Whether this very bitmap is in the set; after it was removed, another may have its name. */
  has(bitmap: DirtyBitmap): boolean {
    return this.bitmaps.get(bitmap.name) === bitmap;
  }

  /** @throws CodedError BITMAP_NOT_FOUND */
  get(name: string): DirtyBitmap {
    const bitmap = this.bitmaps.get(name);
    if (bitmap) return bitmap;
    throw new CodedError('BITMAP_NOT_FOUND', `Dirty bitmap '${name}' not found`, 'tidemark bitmap list shows them');
  }

  /**
   * Marks the range dirty in every recording bitmap. Call it before the data is handed to storage. Every write passes
   * here, so it allocates nothing.
   */
  markDirty(offset: number, length: number): void {
    const last = offset + length - 1;
    for (let i = 0; i < this.recordingBits.length; i++) {
      const granularityBytes = this.recordingGranularities[i]!;
      this.recordingBits[i]!.setRange(Math.floor(offset / granularityBytes), Math.floor(last / granularityBytes) + 1);
    }
  }

  /** The smallest granularity of the bitmaps that record writes; infinite if none does. */
  get leastGranularityBytes(): number {
    return Math.min(...this.recordingGranularities);
  }

  get sliceBytes(): number {
    return this.slice;
  }

  /** How many persistent bitmaps record writes. */
  get persistentlyRecording(): number {
    return this.persistentRecording;
  }

  recordNow(offset: number, length: number): boolean {
    this.markDirty(offset, length);
    return true;
  }

  async record(offset: number, length: number): Promise<Errno> {
    for (const slice of slicesOf(offset, length, this.slice)) {
      await giveWay();
      this.markDirty(slice.offset, slice.length);
    }
    return OK;
  }

  /** Whether the whole range is already dirty in every persistent bitmap, so that a write would not change them. */
  isPersistentlyDirty(offset: number, length: number): boolean {
    const last = offset + length - 1;
    for (let i = 0; i < this.persistentRecording; i++) {
      const granularityBytes = this.recordingGranularities[i]!;
      const from = Math.floor(offset / granularityBytes);
      const end = Math.floor(last / granularityBytes) + 1;
      if (this.recordingBits[i]!.nextClear(from, end) >= 0) return false;
    }
    return true;
  }

  /** The size of the dirty granules in the range, in all persistent bitmaps that record together. */
  persistentlyDirtyBytes(offset: number, length: number): number {
    const last = offset + length - 1;
    let bytes = 0;
    for (let i = 0; i < this.persistentRecording; i++) {
      const granularityBytes = this.recordingGranularities[i]!;
      const from = Math.floor(offset / granularityBytes);
      const dirty = this.recordingBits[i]!.countWithin(from, Math.floor(last / granularityBytes) + 1);
      bytes += dirty * granularityBytes;
    }
    return bytes;
  }

  /** The smallest granularity of the persistent bitmaps that record. */
  get smallestPersistent(): number {
    return Math.min(DEFAULT_GRANULARITY_BYTES, ...this.recordingGranularities.slice(0, this.persistentRecording));
  }

  /** Size in bytes of the bits of a bitmap with this granularity. */
  bitsBytes(granularityBytes = DEFAULT_GRANULARITY_BYTES): number {
    return Math.ceil(this.diskBytes / granularityBytes / 8);
  }

  /** Checks that the bitmap may be added. @throws CodedError BITMAP_EXISTS, BITMAP_INVALID */
  checkNew({ name, granularityBytes = DEFAULT_GRANULARITY_BYTES }: NewBitmap): void {
    checkName(name);
    if (this.bitmaps.has(name)) {
      throw new CodedError(
        'BITMAP_EXISTS',
        `Bitmap already exists: ${name}`,
        'choose another name, or remove it first',
      );
    }
    checkGranularity(granularityBytes, this.diskBytes);
  }

  /** Returns the undo. @throws CodedError as `checkNew` */
  add(wanted: NewBitmap): Undo {
    this.checkNew(wanted);
    const { name, granularityBytes = DEFAULT_GRANULARITY_BYTES, disabled = false, persistent = false } = wanted;
    const { provisional } = wanted;
    this.put({ name, granularityBytes, enabled: !disabled, persistent, provisional });
    return () => this.drop(name);
  }

  /** Adds a persistent bitmap as it was stored; `load` fills the array that has the given number. */
  restore(name: string, stored: StoredState, load: (array: BitArray, number: number) => void): void {
    const { inconsistent, bits, successor } = stored;
    const bitmap = this.put({ ...stored, name, persistent: true });
    load(bitmap.arrays.bits, bits);
    if (successor !== undefined) {
      bitmap.createSuccessor();
      load(bitmap.arrays.successor!, successor);
    }
    if (inconsistent !== undefined) bitmap.markInconsistent(inconsistent);
  }

  /** Adds an inconsistent bitmap in place of one of which only the name could be read. */
  restoreUnknown(name: string, reason: string): void {
    const granularityBytes = usualGranularity(this.diskBytes);
    this.put({ name, granularityBytes, enabled: false, persistent: true }).markInconsistent(reason);
  }

  /** Returns the undo. @throws CodedError BITMAP_BUSY */
  remove(bitmap: DirtyBitmap): Undo {
    bitmap.check('remove');
    const before = this.list();
    const { distrusted } = this;
    this.drop(bitmap.name);
    return () => {
      this.bitmaps.clear();
      for (const one of before) this.bitmaps.set(one.name, one);
      this.refresh();
      if (this.distrusted && this.distrusted !== distrusted) bitmap.markInconsistent(this.distrusted.reason);
    };
  }

  /** Marks all bitmaps inconsistent. That includes bitmaps that are removed now, if their removal is undone later. */
  distrust(reason: string): void {
    this.distrusted = { reason };
    for (const bitmap of this.list()) bitmap.markInconsistent(reason);
  }

  /**
   * Takes a bitmap back from the backup that froze it and failed: reclaims it, or removes it if that backup created it.
   * Leaves it alone if it has been removed since; another bitmap may have its name. Adds the undo of each step to
   * `undos`.
   */
  *takingBack(bitmap: DirtyBitmap, freeze: Freeze | undefined, undos: Undo[]): Steps<void> {
    if (!this.has(bitmap)) return;
    if (freeze?.active) undos.push(yield* freeze.reclaiming());
    if (bitmap.provisional) undos.push(this.remove(bitmap));
  }

  /** @throws CodedError BITMAP_BUSY on shrinking; BITMAP_INVALID when a bitmap would be too large */
  checkResize(diskBytes: number): void {
    if (diskBytes < this.diskBytes) for (const bitmap of this.list()) bitmap.check('shrink');
    for (const bitmap of this.list()) checkGranularity(bitmap.granularityBytes, diskBytes);
  }

  /** Resizes all bitmaps with the disk; a new tail is dirty in each. @throws as `checkResize` */
  resize(diskBytes: number): void {
    this.checkResize(diskBytes);
    for (const bitmap of this.list()) bitmap.resize(diskBytes);
    this.diskBytes = diskBytes;
  }

  private put(options: Omit<DirtyBitmapOptions, 'diskBytes'>): DirtyBitmap {
    const bitmap = new DirtyBitmap({ ...options, diskBytes: this.diskBytes }, () => this.refresh());
    this.bitmaps.set(bitmap.name, bitmap);
    this.refresh();
    return bitmap;
  }

  private drop(name: string): void {
    this.bitmaps.delete(name);
    this.refresh();
  }

  /** Recomputes which arrays record writes. */
  private refresh(): void {
    const bitmaps = this.list();
    const persistent = bitmaps.filter((bitmap) => bitmap.persistent && bitmap.recording);
    const transient = bitmaps.filter((bitmap) => !bitmap.persistent && bitmap.recording);
    this.persistentRecording = persistent.length;
    this.recordingBits = [...persistent, ...transient].map((bitmap) => bitmap.recordingBits()!);
    this.recordingGranularities = [...persistent, ...transient].map((bitmap) => bitmap.granularityBytes);
    this.slice = sliceBytesFor(this.recordingGranularities);
  }
}

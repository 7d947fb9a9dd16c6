import type { BitArray } from '../base/bit-array.js';
import { CodedError } from '../base/coded-error.js';
import { type Errno, OK } from '../base/errno.js';
import { giveWay } from '../base/loop-share.js';
import { slicesOf } from '../base/slices.js';
import type { Steps } from '../base/steps.js';
import { checkGranularity, checkName, DEFAULT_GRANULARITY_BYTES, usualGranularity } from './bitmap-limits.js';
import { type ChangeRecorder, RECORDED_TOGETHER_BYTES } from './change-recorder.js';
import { type BitmapBase, DirtyBitmap } from './dirty-bitmap.js';
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
 * The bitmaps of one disk, in the order in which they were added. Changes are recorded in memory only, so recording
 * never waits; the write-intent log does the rest for persistent bitmaps.
 */
export class BitmapSet implements ChangeRecorder {
  private readonly bitmaps = new Map<string, DirtyBitmap>();
  /** The bits that record writes now and the granularity of each; persistent bitmaps come first. */
  private recordingBits: BitArray[] = [];
  private recordingGranularities: number[] = [];
  private persistentRecording = 0;

  constructor(private diskBytes: number) {}

  list(): DirtyBitmap[] {
    return [...this.bitmaps.values()];
  }

  find(name: string): DirtyBitmap | undefined {
    return this.bitmaps.get(name);
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

  recordNow(offset: number, length: number): boolean {
    this.markDirty(offset, length);
    return true;
  }

  async record(offset: number, length: number): Promise<Errno> {
    for (const slice of slicesOf(offset, length, RECORDED_TOGETHER_BYTES)) {
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

  /** @throws CodedError as `checkNew` */
  add(wanted: NewBitmap): Undo {
    this.checkNew(wanted);
    const { name, granularityBytes = DEFAULT_GRANULARITY_BYTES, disabled = false, persistent = false } = wanted;
    const { provisional } = wanted;
    const { diskBytes } = this;
    const bitmap = new DirtyBitmap({ name, diskBytes, granularityBytes, enabled: !disabled, persistent, provisional });
    this.bitmaps.set(name, bitmap);
    return this.changed(() => this.drop(bitmap));
  }

  /** Adds a persistent bitmap as it was stored; `load` fills the array that has the given number. */
  restore(name: string, stored: StoredState, load: (array: BitArray, number: number) => void): void {
    const { inconsistent, bits, successor } = stored;
    const bitmap = new DirtyBitmap({ ...stored, name, diskBytes: this.diskBytes, persistent: true });
    load(bitmap.arrays.bits, bits);
    if (successor !== undefined) {
      bitmap.createSuccessor();
      load(bitmap.arrays.successor!, successor);
    }
    if (inconsistent !== undefined) bitmap.markInconsistent(inconsistent);
    this.bitmaps.set(name, bitmap);
    this.refresh();
  }

  /** Adds an inconsistent bitmap in place of one of which only the name could be read. */
  restoreUnknown(name: string, reason: string): void {
    const { diskBytes } = this;
    const granularityBytes = usualGranularity(diskBytes);
    const bitmap = new DirtyBitmap({ name, diskBytes, granularityBytes, enabled: false, persistent: true });
    bitmap.markInconsistent(reason);
    this.bitmaps.set(name, bitmap);
  }

  remove(name: string): Undo {
    const bitmap = this.get(name);
    bitmap.check('remove');
    const before = this.list();
    this.drop(bitmap);
    return this.changed(() => {
      bitmap.removed = false;
      this.bitmaps.clear();
      for (const one of before) this.bitmaps.set(one.name, one);
    });
  }

  /** Removes a bitmap that was created by a backup that failed, even if it is still frozen. */
  withdraw(name: string): Undo {
    const undo = this.get(name).busy ? this.reclaim(name) : () => {};
    const undoRemove = this.remove(name);
    return () => {
      undoRemove();
      undo();
    };
  }

  clear(name: string): Undo {
    return this.changed(this.get(name).clear());
  }

  enable(name: string): Undo {
    return this.changed(this.get(name).enable());
  }

  disable(name: string): Undo {
    return this.changed(this.get(name).disable());
  }

  /**
   * Marks in `target` everything that is dirty in the sources, which may be on another disk of the same size. Runs in
   * steps; until the last one nothing may be written and none of these bitmaps may change.
   */
  *merging(target: string, sources: readonly DirtyBitmap[]): Steps<Undo> {
    const bitmap = this.get(target);
    const stranger = sources.find((source) => source.sizeBytes !== this.diskBytes);
    if (stranger) {
      throw new CodedError(
        'BITMAP_INCOMPATIBLE',
        "Bitmaps are incompatible and can't be merged",
        `the disk of '${target}' has ${this.diskBytes} bytes, the disk of '${stranger.name}' has ${stranger.sizeBytes}`,
      );
    }
    return this.changed(yield* bitmap.merging(sources));
  }

  createSuccessor(name: string): Undo {
    return this.changed(this.get(name).createSuccessor());
  }

  /** @throws CodedError BITMAP_NO_SUCCESSOR */
  abdicate(name: string, backup: string): Undo {
    return this.changed(this.get(name).abdicate(backup));
  }

  reclaim(name: string): Undo {
    return this.changed(this.get(name).reclaim());
  }

  markInconsistent(name: string, reason: string): void {
    this.get(name).markInconsistent(reason);
    this.refresh();
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
    this.refresh();
  }

  private drop(bitmap: DirtyBitmap): void {
    bitmap.removed = true;
    this.bitmaps.delete(bitmap.name);
  }

  /** Recomputes which bitmaps record, now and again when the change is undone. */
  private changed(undo: Undo): Undo {
    this.refresh();
    return () => {
      undo();
      this.refresh();
    };
  }

  private refresh(): void {
    const bitmaps = this.list();
    const persistent = bitmaps.filter((bitmap) => bitmap.persistent && bitmap.recording);
    const transient = bitmaps.filter((bitmap) => !bitmap.persistent && bitmap.recording);
    this.persistentRecording = persistent.length;
    this.recordingBits = [...persistent, ...transient].map((bitmap) => bitmap.recordingBits()!);
    this.recordingGranularities = [...persistent, ...transient].map((bitmap) => bitmap.granularityBytes);
  }
}

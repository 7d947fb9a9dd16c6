import { BitArray } from '../base/bit-array.js';
import { CodedError } from '../base/coded-error.js';
import type { ExtentList } from '../base/extents.js';
import type { Steps } from '../base/steps.js';
import { type BitmapOperation, type Obstacle, refusalFor, refusedBy } from './bitmap-refusals.js';
import { type BitmapBase, CurrentState, Freeze } from './bitmap-state.js';
import { commonBytesOf, describeBits, dirtyBytesOf, markingFrom, markRange } from './dirty-bits.js';
import type { Undo } from './undo.js';

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
 * back (reclaimed). Both go through the `Freeze`, which belongs to the backup. While the bitmap is frozen, `extents`
 * shows both arrays together, which is everything written since the base.
 */
export class DirtyBitmap {
  readonly name: string;
  readonly granularityBytes: number;
  readonly persistent: boolean;
  private readonly state: CurrentState;

  /** `changed` is called whenever another array may record writes. */
  constructor(options: DirtyBitmapOptions, changed: () => void = () => {}) {
    const { name, diskBytes, granularityBytes, enabled, persistent, base, provisional } = options;
    this.name = name;
    this.granularityBytes = granularityBytes;
    this.persistent = persistent;
    const start = {
      diskBytes,
      bits: new BitArray(Math.ceil(diskBytes / granularityBytes)),
      frozen: undefined,
      enabled,
      inconsistent: undefined,
      base: base ?? { none: 'new' as const },
      provisional: provisional ?? false,
    };
    this.state = new CurrentState(start, changed);
  }

  /** Size of the disk in bytes. */
  get sizeBytes(): number {
    return this.state.now.diskBytes;
  }

  /** Whether writes are recorded, in this bitmap or its successor. */
  get recording(): boolean {
    return this.state.now.enabled;
  }

  /** Whether it is frozen by an operation. */
  get busy(): boolean {
    return this.freeze !== undefined;
  }

  get freeze(): Freeze | undefined {
    return this.state.now.frozen?.by;
  }

  /** Why the bitmap cannot be trusted; undefined when it can. */
  get inconsistent(): string | undefined {
    return this.state.now.inconsistent;
  }

  get base(): BitmapBase {
    return this.state.now.base;
  }

  /** Whether it was created by a backup that is still active. */
  get provisional(): boolean {
    return this.state.now.provisional;
  }

  /** The bit arrays, for the code that stores them. Changes to the bitmap replace them with new arrays. */
  get arrays(): { readonly bits: BitArray; readonly successor: BitArray | undefined } {
    const { bits, frozen } = this.state.now;
    return { bits, successor: frozen?.successor };
  }

  /** The bits that record writes now; undefined when the bitmap is disabled. */
  recordingBits(): BitArray | undefined {
    const { enabled, bits, frozen } = this.state.now;
    return enabled ? (frozen?.successor ?? bits) : undefined;
  }

  /** Dirty bytes, including those written since the bitmap was frozen. */
  get dirtyBytes(): number {
    const { granularityBytes, sizeBytes } = this;
    const { bits, successor } = this.arrays;
    const dirty = dirtyBytesOf(bits, granularityBytes, sizeBytes);
    if (!successor) return dirty;
    const since = dirtyBytesOf(successor, granularityBytes, sizeBytes);
    return dirty + since - commonBytesOf(bits, successor, granularityBytes, sizeBytes);
  }

  /** Appends the DIRTY and clean extents of the range until `list` is full. Covers all writes since the base. */
  extents(offset: number, length: number, list: ExtentList): void {
    const { bits, successor } = this.arrays;
    describeBits(successor ? [bits, successor] : [bits], this.granularityBytes, this.sizeBytes, offset, length, list);
  }

  /** @throws CodedError when the bitmap's state refuses that operation */
  check(operation: BitmapOperation): void {
    const obstacle = refusedBy[operation].find((candidate) => this.has(candidate));
    if (obstacle) throw refusalFor(this.name, operation, obstacle);
  }

  /** Returns the undo. */
  enable(): Undo {
    this.check('enable');
    return this.state.change({ enabled: true });
  }

  /** Stops recording. Later writes are missing, so the bitmap loses its base. Returns the undo. */
  disable(): Undo {
    this.check('disable');
    return this.state.change({ enabled: false, base: { none: 'disabled' } });
  }

  /** Makes every granule clean. Returns the undo. */
  clear(): Undo {
    this.check('clear');
    return this.state.change({ bits: this.emptyBits(), base: { none: 'cleared' } });
  }

  /**
   * Marks everything that is dirty in the sources, which may be on another disk of the same size, or nothing if one of
   * them is refused. Runs in steps, during which a source may become inconsistent, but not change otherwise. Returns the
   * undo.
   */
  *merging(sources: readonly DirtyBitmap[]): Steps<Undo> {
    this.checkMerge(sources);
    const merged = yield* this.arrays.bits.copying();
    for (const { granularityBytes, sizeBytes: diskBytes, arrays } of sources) {
      const { bits } = arrays;
      if (granularityBytes === this.granularityBytes) yield* merged.adding(bits);
      else yield* markingFrom({ bits, granularityBytes, diskBytes }, merged, this.granularityBytes);
      yield;
    }
    // Meanwhile one of them may have become inconsistent.
    this.checkMerge(sources);
    return this.state.change({ bits: merged, base: { none: 'merged' } });
  }

  /** Freezes the bitmap; if it was recording, its successor records from now on. */
  createSuccessor(): Freeze {
    this.check('create-successor');
    return new Freeze(this.state, this.granularityBytes, this.emptyBits());
  }

  /** The bitmap can no longer be trusted and stops recording, and a freeze ends; `reason` is shown to users. */
  markInconsistent(reason: string): void {
    this.state.distrust(reason);
  }

  /** Resizes the bitmap with the disk. A new tail is dirty, because no base contains it. */
  resize(diskBytes: number): void {
    const { diskBytes: before, bits: old, frozen } = this.state.now;
    const granules = Math.ceil(diskBytes / this.granularityBytes);
    const bits = old.resized(granules);
    const successor = frozen?.successor.resized(granules);
    if (diskBytes > before) markRange(successor ?? bits, this.granularityBytes, before, diskBytes - before);
    this.state.change({ diskBytes, bits, frozen: frozen && { by: frozen.by, successor: successor! } });
  }

  private checkMerge(sources: readonly DirtyBitmap[]): void {
    const stranger = sources.find(({ sizeBytes }) => sizeBytes !== this.sizeBytes);
    if (stranger) {
      throw new CodedError(
        'BITMAP_INCOMPATIBLE',
        "Bitmaps are incompatible and can't be merged",
        `the disk of '${this.name}' has ${this.sizeBytes} bytes, the disk of '${stranger.name}' has ${stranger.sizeBytes}`,
      );
    }
    this.check('merge-into');
    for (const source of sources) source.check('merge-from');
  }

  private has(obstacle: Obstacle): boolean {
    return obstacle === 'inconsistent' ? this.inconsistent !== undefined : this.busy;
  }

  private emptyBits(): BitArray {
    return new BitArray(this.arrays.bits.length);
  }
}

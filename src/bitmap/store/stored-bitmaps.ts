import { type BitArray, PAGE_BITS } from '../../base/bit-array.js';
import type { BitmapSet, StoredState } from '../bitmap-set.js';
import type { DirtyBitmap } from '../dirty-bitmap.js';
import type { Change, Damage, Key, KeyValueStore } from './key-value-store.js';
import { allArrays, allBitmaps, allPages, bitmapKey, pageKey } from './keys.js';
import { Loading } from './loading.js';

/** A range of the disk, in bytes. */
export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

/**
 * The persistent bitmaps of one disk as they are in the store. Loads them, and computes the changes that make the store
 * match memory. Arrays are recognised by object identity: a new array gets a number and all its pages are stored; the
 * pages of an array that is gone are removed.
 */
export class StoredBitmaps {
  /** The number of each stored array. */
  private stored = new Map<BitArray, number>();
  private storedStates = new Map<string, string>();
  /** The arrays that were recording at the last save; their bits of active regions are not stored yet. */
  private recorded = new Set<BitArray>();
  private nextNumber = 1;

  constructor(
    private readonly exportName: string,
    private readonly bitmaps: BitmapSet,
    private readonly store: KeyValueStore,
  ) {}

  /**
   * Adds every stored bitmap to the set; bitmaps with damaged entries are inconsistent. Returns the damage found. If
   * there is any, all entries of the disk must be replaced by those of `everything`.
   */
  load(): Damage | undefined {
    const loading = new Loading(this.bitmaps);
    const damage = this.store.read(this.exportName, (key, value) => loading.take(key, value));
    for (const [number, { array }] of loading.arrays) {
      this.stored.set(array, number);
      this.nextNumber = Math.max(this.nextNumber, number + 1);
    }
    this.storedStates = loading.states;
    if (damage) loading.distrust(damage);
    this.recorded = this.recordingArrays();
    return damage;
  }

  /**
   * The changes since the last save. An array that stopped recording is stored exactly, including its active regions.
   * The caller commits the changes, and calls `forget` if that fails.
   */
  changes(activeRanges: readonly ByteRange[]): Change[] {
    const changes: Change[] = [];
    const recording = this.recordingArrays();
    const numbers = new Map<BitArray, number>();
    const states = new Map<string, string>();
    for (const bitmap of this.persistentBitmaps()) {
      const state = JSON.stringify(this.describe(bitmap, numbers, changes));
      states.set(bitmap.name, state);
      if (this.storedStates.get(bitmap.name) !== state) {
        changes.push({ key: bitmapKey(this.exportName, bitmap.name), value: Buffer.from(state) });
      }
    }
    for (const name of this.storedStates.keys()) {
      if (!states.has(name)) changes.push({ key: bitmapKey(this.exportName, name), value: undefined });
    }
    for (const [array, number] of this.stored) {
      if (!numbers.has(array)) changes.push(...this.removals(allPages(this.exportName, number)));
    }
    for (const { granularityBytes, array } of this.persistentArrays()) {
      if (!this.recorded.has(array) || recording.has(array)) continue;
      changes.push(...this.pagesWithin(array, numbers.get(array)!, granularityBytes, activeRanges));
    }
    this.stored = numbers;
    this.storedStates = states;
    this.recorded = recording;
    return changes;
  }

  /** Call after a failed commit: the content of the store is unknown, so the next save must replace all of it. */
  forget(): void {
    this.stored.clear();
    this.storedStates.clear();
    this.recorded.clear();
  }

  /** Changes that replace all stored bitmaps of the disk. */
  everything(): Change[] {
    this.forget();
    const stale = [...this.removals(allBitmaps(this.exportName)), ...this.removals(allArrays(this.exportName))];
    return [...stale, ...this.changes([])];
  }

  /** The pages of recording arrays that hold the bits of these ranges. */
  pagesOf(ranges: readonly ByteRange[]): Change[] {
    return this.persistentArrays().flatMap(({ granularityBytes, array }) => {
      const number = this.recorded.has(array) ? this.stored.get(array) : undefined;
      return number === undefined ? [] : this.pagesWithin(array, number, granularityBytes, ranges);
    });
  }

  /** Returns each page once, even if ranges share it. */
  private pagesWithin(
    array: BitArray,
    number: number,
    granularityBytes: number,
    ranges: readonly ByteRange[],
  ): Change[] {
    const pageBytes = granularityBytes * PAGE_BITS;
    const pages = new Set<number>();
    for (const { offset, length } of ranges) {
      const last = Math.floor((offset + length - 1) / pageBytes);
      for (let page = Math.floor(offset / pageBytes); page <= last; page++) pages.add(page);
    }
    return [...pages].flatMap((page) => this.pages(array, number, page, page + 1));
  }

  private persistentArrays(): { granularityBytes: number; array: BitArray }[] {
    return this.persistentBitmaps().flatMap(({ granularityBytes, arrays: { bits, successor } }) =>
      [bits, ...(successor ? [successor] : [])].map((array) => ({ granularityBytes, array })),
    );
  }

  private recordingArrays(): Set<BitArray> {
    return new Set(this.persistentBitmaps().flatMap((bitmap) => bitmap.recordingBits() ?? []));
  }

  private persistentBitmaps(): DirtyBitmap[] {
    return this.bitmaps.list().filter((bitmap) => bitmap.persistent);
  }

  private describe(bitmap: DirtyBitmap, numbers: Map<BitArray, number>, changes: Change[]): StoredState {
    const numberOf = (array: BitArray): number => {
      const known = this.stored.get(array);
      const number = known ?? this.nextNumber++;
      numbers.set(array, number);
      if (known === undefined) changes.push(...this.pages(array, number, 0, array.pageCount));
      return number;
    };
    const { bits, successor } = bitmap.arrays;
    return {
      granularityBytes: bitmap.granularityBytes,
      enabled: bitmap.recording,
      ...(bitmap.inconsistent === undefined ? {} : { inconsistent: bitmap.inconsistent }),
      base: bitmap.base,
      ...(bitmap.provisional ? { provisional: true } : {}),
      bits: numberOf(bits),
      ...(successor ? { successor: numberOf(successor) } : {}),
    };
  }

  private pages(array: BitArray, number: number, first: number, end: number): Change[] {
    const changes: Change[] = [];
    for (let page = first; page < end; page++) {
      const value = array.page(page);
      if (value) changes.push({ key: pageKey(this.exportName, number, page), value });
    }
    return changes;
  }

  private removals(prefix: Key): Change[] {
    return [...this.store.keys(prefix)].map((key) => ({ key, value: undefined }));
  }
}

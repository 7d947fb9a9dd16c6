import { type BitArray, PAGE_BITS } from '../../base/bit-array.js';
import type { BitmapSet, StoredState } from '../bitmap-set.js';
import type { DirtyBitmap } from '../dirty-bitmap.js';
import type { Change, Damage, Key, KeyValueStore } from './key-value-store.js';
import { allArrays, allBitmaps, allPages, bitmapKey, pageKey } from './keys.js';
import { Loading } from './loading.js';
import { type Saving, wholeOf } from './saving.js';

/** A range of the disk, in bytes. */
export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

/** Pages without a bitmap that one commit removes. */
const REMOVED_TOGETHER = 512;

interface StoredArray {
  readonly granularityBytes: number;
  readonly array: BitArray;
}

/**
 * The persistent bitmaps of one disk as they are in the store. Loads them, and computes the changes that make the store
 * match memory. Arrays are recognised by object identity: a new array gets a number, and all its pages are stored. The
 * pages of an array that is gone are removed, some with each save. Until then they are garbage: no bitmap in the store
 * has them.
 */
export class StoredBitmaps {
  /** The number of each array. An array keeps it even if nobody knows what a failed commit has stored of it. */
  private numbers = new Map<BitArray, number>();
  /** The arrays whose pages are in the store. */
  private stored = new Set<BitArray>();
  private storedStates = new Map<string, string>();
  /** The arrays that were recording at the last save; their bits of active regions are not stored yet. */
  private recorded = new Set<BitArray>();
  private nextNumber = 1;
  /** Numbers of arrays that are gone and may still have pages. */
  private readonly garbage = new Set<number>();

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
      this.numbers.set(array, number);
      this.stored.add(array);
    }
    for (const number of loading.strays) this.garbage.add(number);
    this.nextNumber = Math.max(0, ...loading.arrays.keys(), ...loading.strays) + 1;
    this.storedStates = loading.states;
    if (damage) loading.distrust(damage);
    this.recorded = this.recordingArrays();
    return damage;
  }

  /** Whether pages are left to remove. */
  get hasGarbage(): boolean {
    return this.garbageKeys(1).length > 0;
  }

  /**
   * The changes since the last save. An array that stopped recording is stored exactly, including its active regions.
   * The caller commits the changes, and calls `forget` if that fails.
   */
  changes(activeRanges: () => readonly ByteRange[] = () => []): Saving {
    const recording = this.recordingArrays();
    const arrays = this.persistentArrays();
    const added = arrays.filter(({ array }) => !this.stored.has(array));
    const stopped = arrays.filter(({ array }) => this.recorded.has(array) && !recording.has(array));
    this.number(arrays);
    const rest = [...this.stateChanges(), ...this.removals(this.garbageKeys(REMOVED_TOGETHER))];
    this.stored = new Set(this.numbers.keys());
    this.recorded = recording;
    return { pages: this.pagesToStore(added, stopped, stopped.length > 0 ? activeRanges() : []), rest };
  }

  /** Call after a failed commit: the content of the store is unknown, so the next save must store everything. */
  forget(): void {
    this.stored.clear();
    this.storedStates.clear();
    this.recorded.clear();
  }

  /** What a save must remove first after `forget`: bitmaps of which nobody knows whether they are stored. */
  staleStates(): Change[] {
    return this.removals(this.store.keys(allBitmaps(this.exportName)));
  }

  /** Changes that replace all stored bitmaps of the disk, whatever the store has of them. */
  everything(): Change[] {
    this.forget();
    this.garbage.clear();
    const stale = [...this.staleStates(), ...this.removals(this.store.keys(allArrays(this.exportName)))];
    return [...stale, ...wholeOf(this.changes())];
  }

  /** The pages of recording arrays that hold the bits of these ranges. */
  pagesOf(ranges: readonly ByteRange[]): Iterable<Change | undefined> {
    return this.pagesWithin(
      this.persistentArrays().filter(({ array }) => this.recorded.has(array)),
      ranges,
    );
  }

  /** Gives each new array a number; those of arrays that are gone become garbage. */
  private number(arrays: readonly StoredArray[]): void {
    const before = this.numbers;
    this.numbers = new Map(arrays.map(({ array }) => [array, before.get(array) ?? this.nextNumber++]));
    for (const [array, number] of before) if (!this.numbers.has(array)) this.garbage.add(number);
  }

  private stateChanges(): Change[] {
    const states = new Map(this.persistentBitmaps().map((one) => [one.name, JSON.stringify(this.describe(one))]));
    const gone = [...this.storedStates.keys()].filter((name) => !states.has(name));
    const changed = [...states].filter(([name, state]) => this.storedStates.get(name) !== state);
    this.storedStates = states;
    return [
      ...this.removals(gone.map((name) => bitmapKey(this.exportName, name))),
      ...changed.map(([name, state]) => ({ key: bitmapKey(this.exportName, name), value: Buffer.from(state) })),
    ];
  }

  private *pagesToStore(
    added: readonly StoredArray[],
    stopped: readonly StoredArray[],
    activeRanges: readonly ByteRange[],
  ): Iterable<Change | undefined> {
    for (const { array } of added) {
      for (let page = 0; page < array.pageCount; page++) yield this.page(array, page);
    }
    yield* this.pagesWithin(stopped, activeRanges);
  }

  /** Returns each page once, even if ranges share it. */
  private *pagesWithin(arrays: readonly StoredArray[], ranges: readonly ByteRange[]): Iterable<Change | undefined> {
    const pagesBySize = new Map<number, Iterable<number>>();
    for (const { array, granularityBytes } of arrays) {
      const pages = pagesBySize.get(granularityBytes) ?? pagesTouchedBy(ranges, granularityBytes * PAGE_BITS);
      pagesBySize.set(granularityBytes, pages);
      for (const page of pages) yield this.page(array, page);
    }
  }

  private persistentArrays(): StoredArray[] {
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

  private describe(bitmap: DirtyBitmap): StoredState {
    const { bits, successor } = bitmap.arrays;
    return {
      granularityBytes: bitmap.granularityBytes,
      enabled: bitmap.recording,
      ...(bitmap.inconsistent === undefined ? {} : { inconsistent: bitmap.inconsistent }),
      base: bitmap.base,
      ...(bitmap.provisional ? { provisional: true } : {}),
      bits: this.numbers.get(bits)!,
      ...(successor ? { successor: this.numbers.get(successor)! } : {}),
    };
  }

  private page(array: BitArray, page: number): Change | undefined {
    const number = this.numbers.get(array);
    const value = number === undefined ? undefined : array.page(page);
    return value && { key: pageKey(this.exportName, number!, page), value };
  }

  /** At most this many; numbers that have no pages left are no longer garbage. */
  private garbageKeys(most: number): Key[] {
    const keys: Key[] = [];
    for (const number of this.garbage) {
      const before = keys.length;
      for (const key of this.store.keys(allPages(this.exportName, number))) {
        if (keys.length === most) return keys;
        keys.push(key);
      }
      if (keys.length === before) this.garbage.delete(number);
    }
    return keys;
  }

  private removals(keys: Iterable<Key>): Change[] {
    return [...keys].map((key) => ({ key, value: undefined }));
  }
}

function pagesTouchedBy(ranges: readonly ByteRange[], pageBytes: number): Set<number> {
  const pages = new Set<number>();
  for (const { offset, length } of ranges) {
    const last = Math.floor((offset + length - 1) / pageBytes);
    for (let page = Math.floor(offset / pageBytes); page <= last; page++) pages.add(page);
  }
  return pages;
}

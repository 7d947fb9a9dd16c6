import { type BitArray, PAGE_BITS } from '../bit-array.js';
import type { BitmapSet, StoredState } from '../bitmap-set.js';
import type { DirtyBitmap } from '../dirty-bitmap.js';
import type { Change, Key, KeyValueStore } from './key-value-store.js';
import { allArrays, allBitmaps, allPages, bitmapKey, pageKey } from './keys.js';

/**
 * One disk's persistent bitmaps as the store has them: loads them, and works out what to change there so that it says
 * what memory says. Arrays are known again by identity: one not seen before gets a number and all its pages, one that
 * went loses them.
 */
export class StoredBitmaps {
  /** The number of each array that is in the store. */
  private stored = new Map<BitArray, number>();
  private storedStates = new Map<string, string>();
  private nextNumber = 1;

  constructor(
    private readonly exportName: string,
    private readonly bitmaps: BitmapSet,
    private readonly store: KeyValueStore,
  ) {}

  /** Adds to the set every bitmap that the store has. */
  load(): void {
    for (const { key, value } of this.store.entries(allBitmaps(this.exportName))) {
      const name = String(key.at(-1));
      const state = value.toString();
      this.bitmaps.restore(name, JSON.parse(state) as StoredState, (array, number) => {
        this.loadPages(array, number);
        this.stored.set(array, number);
        this.nextNumber = Math.max(this.nextNumber, number + 1);
      });
      this.storedStates.set(name, state);
    }
  }

  /** The changes since the last save. They hold once they are committed; if that fails, call `forget`. */
  changes(): Change[] {
    const changes: Change[] = [];
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
    this.stored = numbers;
    this.storedStates = states;
    return changes;
  }

  /** After a commit that failed nothing in the store is believed: the next save removes all of it and writes it anew. */
  forget(): void {
    this.stored.clear();
    this.storedStates.clear();
  }

  /** Everything, in place of whatever the store holds. */
  everything(): Change[] {
    this.forget();
    const stale = [...this.removals(allBitmaps(this.exportName)), ...this.removals(allArrays(this.exportName))];
    return [...stale, ...this.changes()];
  }

  /** The pages of the arrays that record which hold the bits of a range of the disk. */
  pagesOf(offset: number, length: number): Change[] {
    return this.persistentBitmaps().flatMap((bitmap) => {
      const bits = bitmap.recordingBits();
      const number = bits && this.stored.get(bits);
      if (!bits || number === undefined) return [];
      const pageBytes = bitmap.granularityBytes * PAGE_BITS;
      const first = Math.floor(offset / pageBytes);
      const last = Math.floor((offset + length - 1) / pageBytes);
      return this.pages(bits, number, first, last + 1);
    });
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

  private loadPages(array: BitArray, number: number): void {
    for (const { key, value } of this.store.entries(allPages(this.exportName, number))) {
      array.loadPage(Number(key.at(-1)), value);
    }
  }

  private removals(prefix: Key): Change[] {
    return [...this.store.entries(prefix)].map(({ key }) => ({ key, value: undefined }));
  }
}

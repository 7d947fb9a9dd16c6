import { type BitArray, PAGE_BITS } from '../../base/bit-array.js';
import type { BitmapSet, StoredState } from '../bitmap-set.js';
import type { DirtyBitmap } from '../dirty-bitmap.js';
import type { Change, Damage, Key, KeyValueStore } from './key-value-store.js';
import { allArrays, allBitmaps, allPages, bitmapKey, pageKey } from './keys.js';
import { Loading } from './loading.js';
import type { Plan } from './plan.js';

/** A range of the disk, in bytes. */
export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

/** How many pages without a bitmap one commit removes. */
const REMOVED_TOGETHER = 512;

interface StoredArray {
  readonly granularityBytes: number;
  readonly array: BitArray;
}

/** Arrays that are stored already, and ranges of the disk whose bits changed since. */
interface PartlyStored {
  readonly arrays: readonly StoredArray[];
  readonly ranges: readonly ByteRange[];
}

/** What the store has. */
interface Known {
  /** The state of each bitmap. */
  readonly states: ReadonlyMap<string, string>;
  /** The arrays with all their bits, except those set later in marked regions. */
  readonly arrays: ReadonlySet<BitArray>;
  /** Those of them that were recording. */
  readonly recorded: ReadonlySet<BitArray>;
}

/** Regions of the disk whose bits a save has to consider, as ranges. */
interface PlannedRegions {
  /** With a mark that stays. Their bits are stored for arrays that have stopped recording. */
  readonly marked: () => readonly ByteRange[];
  /** With a mark that is removed. Their bits are stored. */
  readonly cooling: readonly ByteRange[];
}

const noRegions: PlannedRegions = { marked: () => [], cooling: [] };
const nothing: Known = { states: new Map(), arrays: new Set(), recorded: new Set() };

/**
 * The persistent bitmaps of one disk as they are in the store. Loads them, and plans what makes the store match memory.
 * Arrays are recognised by object identity: a new array gets a number, and all its pages are stored. The pages of an
 * array that is gone are removed, some with each save. Until then they are garbage: no bitmap in the store has them.
 */
export class StoredBitmaps {
  /** The number of each array, which never becomes that of another. */
  private readonly numbers = new WeakMap<BitArray, number>();
  private nextNumber = 1;
  /** The numbers that may have pages in the store. */
  private readonly used = new Set<number>();
  /** Undefined after a commit that failed. */
  private known: Known | undefined = nothing;

  constructor(
    private readonly exportName: string,
    private readonly bitmaps: BitmapSet,
    private readonly store: KeyValueStore,
  ) {}

  /**
   * Adds every stored bitmap to the set; bitmaps with damaged entries are inconsistent. Returns the damage found. If
   * there is any, all entries of the disk must be replaced by those of `planAnew`.
   */
  load(): Damage | undefined {
    const loading = new Loading(this.bitmaps);
    const damage = this.store.read(this.exportName, (key, value) => loading.take(key, value));
    for (const [number, { array }] of loading.arrays) this.numbers.set(array, number);
    for (const number of [...loading.arrays.keys(), ...loading.strays]) this.used.add(number);
    this.nextNumber = Math.max(0, ...this.used) + 1;
    if (damage) loading.distrust(damage);
    const arrays = new Set([...loading.arrays.values()].map(({ array }) => array));
    this.known = { states: loading.states, arrays, recorded: this.recordingArrays() };
    return damage;
  }

  /** Whether pages are left to remove. */
  get hasGarbage(): boolean {
    return this.garbageKeys(1).length > 0;
  }

  /** What has changed since the last save, or everything if it is not known what the store has. */
  plan({ marked, cooling } = noRegions): Plan {
    const { states, arrays, recorded } = this.known ?? nothing;
    const present = this.persistentArrays();
    const recording = this.recordingArrays();
    const added = present.filter(({ array }) => !arrays.has(array));
    const stopped = present.filter(({ array }) => recorded.has(array) && !recording.has(array));
    const cooled = present.filter(({ array }) => arrays.has(array) && recording.has(array));
    const parts: PartlyStored[] = [{ arrays: cooled, ranges: cooling }];
    if (stopped.length > 0) parts.push({ arrays: stopped, ranges: [...marked(), ...cooling] });
    const next = { states: this.states(), arrays: new Set(present.map(({ array }) => array)), recorded: recording };
    const stale = this.known ? [] : removals(this.store.keys(allBitmaps(this.exportName)));
    const garbage = removals(this.garbageKeys(REMOVED_TOGETHER));
    return {
      pages: this.pages(added, parts),
      rest: [...stale, ...this.stateChanges(states, next.states), ...garbage],
      accept: () => {
        this.known = next;
      },
      reject: () => this.forget(),
    };
  }

  /** What replaces all entries of the bitmaps, whatever the store has. It must be stored in one commit. */
  planAnew(): Plan {
    this.forget();
    const plan = this.plan();
    return { ...plan, pages: [...removals(this.store.keys(allArrays(this.exportName))), ...plan.pages] };
  }

  /** It is not known what the store has, so the next plan has everything. */
  forget(): void {
    this.known = undefined;
  }

  private states(): ReadonlyMap<string, string> {
    return new Map(this.persistentBitmaps().map((bitmap) => [bitmap.name, JSON.stringify(this.describe(bitmap))]));
  }

  private stateChanges(before: ReadonlyMap<string, string>, now: ReadonlyMap<string, string>): Change[] {
    const gone = [...before.keys()].filter((name) => !now.has(name));
    const changed = [...now].filter(([name, state]) => before.get(name) !== state);
    return [
      ...removals(gone.map((name) => bitmapKey(this.exportName, name))),
      ...changed.map(([name, state]) => ({ key: bitmapKey(this.exportName, name), value: Buffer.from(state) })),
    ];
  }

  private *pages(added: readonly StoredArray[], parts: readonly PartlyStored[]): Iterable<Change | undefined> {
    for (const { array } of added) {
      for (let page = 0; page < array.pageCount; page++) yield this.page(array, page);
    }
    for (const { arrays, ranges } of parts) yield* this.pagesWithin(arrays, ranges);
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
      bits: this.numberOf(bits),
      ...(successor ? { successor: this.numberOf(successor) } : {}),
    };
  }

  private numberOf(array: BitArray): number {
    const number = this.numbers.get(array) ?? this.nextNumber++;
    this.numbers.set(array, number);
    this.used.add(number);
    return number;
  }

  private page(array: BitArray, page: number): Change | undefined {
    const value = array.page(page);
    return value && { key: pageKey(this.exportName, this.numberOf(array), page), value };
  }

  /** At most `most` keys of pages that belong to no bitmap. */
  private garbageKeys(most: number): Key[] {
    const present = new Set(this.persistentArrays().map(({ array }) => this.numbers.get(array)));
    const keys: Key[] = [];
    for (const number of this.used) {
      if (present.has(number)) continue;
      const before = keys.length;
      for (const key of this.store.keys(allPages(this.exportName, number))) {
        if (keys.length === most) return keys;
        keys.push(key);
      }
      if (keys.length === before) this.used.delete(number);
    }
    return keys;
  }
}

function removals(keys: Iterable<Key>): Change[] {
  return [...keys].map((key) => ({ key, value: undefined }));
}

function pagesTouchedBy(ranges: readonly ByteRange[], pageBytes: number): Set<number> {
  const pages = new Set<number>();
  for (const { offset, length } of ranges) {
    const last = Math.floor((offset + length - 1) / pageBytes);
    for (let page = Math.floor(offset / pageBytes); page <= last; page++) pages.add(page);
  }
  return pages;
}

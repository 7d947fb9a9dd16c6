import type { BitArray } from '../../base/bit-array.js';
import { isName } from '../bitmap-limits.js';
import type { BitmapSet, StoredState } from '../bitmap-set.js';
import type { DirtyBitmap } from '../dirty-bitmap.js';
import type { Damage, Key } from './key-value-store.js';

/** Loads the entries of a disk into its bitmaps. The entry of a bitmap must come before its pages. */
export class Loading {
  /** Arrays by their numbers in the store. */
  readonly arrays = new Map<number, { readonly bitmap: string; readonly array: BitArray }>();
  /** Numbers of arrays that have pages and belong to no bitmap. */
  readonly strays = new Set<number>();
  /** The stored state of each bitmap, as JSON. */
  readonly states = new Map<string, string>();

  constructor(private readonly bitmaps: BitmapSet) {}

  take(key: Key, value: Buffer): void {
    if (key[0] === 'bitmap') this.takeBitmap(String(key.at(-1)), value.toString());
    if (key[0] === 'page') this.takePage(Number(key.at(-2)), Number(key.at(-1)), value);
  }

  /** Marks bitmaps with damaged entries as inconsistent, and adds those that could not be loaded. */
  distrust({ entries, whole }: Damage): void {
    if (whole !== undefined) this.bitmaps.distrust(reasonFor(whole));
    for (const key of entries) this.distrustFor(key);
  }

  private takeBitmap(name: string, state: string): void {
    this.states.set(name, state);
    this.bitmaps.restore(name, JSON.parse(state) as StoredState, (array, number) =>
      this.arrays.set(number, { bitmap: name, array }),
    );
  }

  private takePage(number: number, page: number, value: Buffer): void {
    const known = this.arrays.get(number);
    if (known) known.array.loadPage(page, value);
    else this.strays.add(number);
  }

  private restoreUnknown(name: string, reason: string): void {
    if (isName(name) && !this.bitmaps.find(name)) this.bitmaps.restoreUnknown(name, reason);
  }

  private distrustFor(key: Key): void {
    const reason = reasonFor(`${key.join('/')} does not match its checksum`);
    if (key[0] === 'bitmap') this.restoreUnknown(String(key.at(-1)), reason);
    for (const bitmap of this.concernedBy(key)) bitmap.markInconsistent(reason);
  }

  /** Damage to the entry of the disk or to a region mark affects all bitmaps of the disk. */
  private concernedBy(key: Key): DirtyBitmap[] {
    if (key[0] === 'bitmap') return [];
    if (key[0] !== 'page') return this.bitmaps.list();
    const owner = this.arrays.get(Number(key.at(-2)))?.bitmap;
    return owner === undefined ? [] : [this.bitmaps.get(owner)];
  }
}

export function reasonFor(damage: string): string {
  return `its entries in the store are damaged: ${damage}`;
}

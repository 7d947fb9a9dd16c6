import type { BitArray } from '../../base/bit-array.js';
import { isName } from '../bitmap-limits.js';
import type { BitmapSet, StoredState } from '../bitmap-set.js';
import type { Damage, Key } from './key-value-store.js';

/** Puts the entries of a disk into its bitmaps, which come before their pages. */
export class Loading {
  /** By their numbers in the store. */
  readonly arrays = new Map<number, { readonly bitmap: string; readonly array: BitArray }>();
  /** What the store says of each bitmap. */
  readonly states = new Map<string, string>();

  constructor(private readonly bitmaps: BitmapSet) {}

  take(key: Key, value: Buffer): void {
    if (key[0] === 'bitmap') this.takeBitmap(String(key.at(-1)), value.toString());
    if (key[0] === 'page') this.arrays.get(Number(key.at(-2)))?.array.loadPage(Number(key.at(-1)), value);
  }

  /** Bitmaps of which anything is damaged are inconsistent from now on, and those that could not be loaded are there. */
  distrust({ entries, whole }: Damage): void {
    if (whole !== undefined) {
      for (const { name } of this.bitmaps.list()) this.bitmaps.markInconsistent(name, reasonFor(whole));
    }
    for (const key of entries) this.distrustFor(key);
  }

  private takeBitmap(name: string, state: string): void {
    this.states.set(name, state);
    this.bitmaps.restore(name, JSON.parse(state) as StoredState, (array, number) =>
      this.arrays.set(number, { bitmap: name, array }),
    );
  }

  private restoreUnknown(name: string, reason: string): void {
    if (isName(name) && !this.bitmaps.find(name)) this.bitmaps.restoreUnknown(name, reason);
  }

  private distrustFor(key: Key): void {
    const reason = reasonFor(`${key.join('/')} is not as it was written`);
    if (key[0] === 'bitmap') this.restoreUnknown(String(key.at(-1)), reason);
    for (const name of this.concernedBy(key)) this.bitmaps.markInconsistent(name, reason);
  }

  /** What the disk was, and which regions were being written, concerns all of its bitmaps. */
  private concernedBy(key: Key): string[] {
    if (key[0] === 'bitmap') return [];
    if (key[0] !== 'page') return this.bitmaps.list().map(({ name }) => name);
    const owner = this.arrays.get(Number(key.at(-2)))?.bitmap;
    return owner === undefined ? [] : [owner];
  }
}

export function reasonFor(damage: string): string {
  return `its entries in the store are damaged: ${damage}`;
}

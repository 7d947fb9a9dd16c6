import { BitArray, PAGE_BYTES } from '../../base/bit-array.js';
import { formatSize } from '../../base/units.js';
import type { StoredState } from '../bitmap-set.js';
import { dirtyBytesOf, union } from '../dirty-bits.js';
import type { KeyValueStore } from './key-value-store.js';
import { allArrays, allBitmaps, allPages, allRegions, everyExport, formatKey } from './keys.js';
import type { StoredExport } from './left-disk.js';

/** What a store holds, and what in it does not fit together. */
export interface StoreReport {
  readonly formatVersion: number;
  readonly exports: readonly StoredExportReport[];
  readonly problems: readonly string[];
}

interface StoredExportReport {
  readonly name: string;
  readonly sizeBytes: number;
  readonly clean: boolean;
  readonly regionBytes: number;
  readonly activeRegions: number;
  readonly bitmaps: readonly StoredBitmapReport[];
}

interface StoredBitmapReport {
  readonly name: string;
  readonly granularityBytes: number;
  /** What is stored; active regions count as dirty besides. */
  readonly dirtyBytes: number;
  readonly recording: boolean;
  readonly frozen: boolean;
  readonly inconsistent?: string;
}

/** Reads every entry of the store. */
export function inspectStore(store: KeyValueStore): StoreReport {
  const problems: string[] = [];
  const exports = [...store.keys(everyExport)].flatMap((key) => {
    const name = String(key.at(-1));
    const stored = parse<StoredExport>(store.get(key)!, `export "${name}"`, problems);
    return stored ? [new ExportInspection(store, name, stored, problems).report()] : [];
  });
  return { formatVersion: store.get(formatKey)?.[0] ?? 0, exports, problems };
}

class ExportInspection {
  private readonly known = new Set<number>();

  constructor(
    private readonly store: KeyValueStore,
    private readonly name: string,
    private readonly stored: StoredExport,
    private readonly problems: string[],
  ) {}

  report(): StoredExportReport {
    const { name, stored, store } = this;
    const bitmaps = [...store.keys(allBitmaps(name))].flatMap((key) => {
      const bitmap = String(key.at(-1));
      const state = parse<StoredState>(store.get(key)!, `bitmap "${bitmap}" of "${name}"`, this.problems);
      return state ? [this.bitmap(bitmap, state)] : [];
    });
    this.checkPages();
    return {
      name,
      sizeBytes: stored.identity.sizeBytes,
      clean: stored.clean,
      regionBytes: stored.regionBytes,
      activeRegions: this.countRegions(),
      bitmaps,
    };
  }

  private bitmap(name: string, state: StoredState): StoredBitmapReport {
    const { granularityBytes, enabled, inconsistent, successor } = state;
    const bits = this.load(name, state, state.bits);
    const all = successor === undefined ? bits : union(bits, this.load(name, state, successor));
    return {
      name,
      granularityBytes,
      dirtyBytes: dirtyBytesOf(all, granularityBytes, this.stored.identity.sizeBytes),
      recording: enabled,
      frozen: successor !== undefined,
      ...(inconsistent === undefined ? {} : { inconsistent }),
    };
  }

  /** The bits of an array; complains of pages that lie outside of it. */
  private load(bitmap: string, { granularityBytes }: StoredState, number: number): BitArray {
    this.known.add(number);
    const array = new BitArray(Math.ceil(this.stored.identity.sizeBytes / granularityBytes));
    for (const key of this.store.keys(allPages(this.name, number))) {
      const page = Number(key.at(-1));
      const value = this.store.peek(key)!;
      if (page >= array.pageCount || value.length > PAGE_BYTES) {
        this.complain(`bitmap "${bitmap}" has a page ${page} that does not belong to a disk of its size`);
      } else array.loadPage(page, value);
    }
    return array;
  }

  private checkPages(): void {
    const strays = new Set<number>();
    for (const key of this.store.keys(allArrays(this.name))) {
      const number = Number(key.at(-2));
      if (!this.known.has(number)) strays.add(number);
    }
    for (const number of strays) this.complain(`pages of an array ${number} that belongs to no bitmap`);
  }

  private countRegions(): number {
    const { identity, regionBytes } = this.stored;
    let count = 0;
    for (const key of this.store.keys(allRegions(this.name))) {
      count++;
      const offset = Number(key.at(-1)) * regionBytes;
      if (offset >= identity.sizeBytes) this.complain(`a mark at ${formatSize(offset)}, behind the end of the disk`);
    }
    return count;
  }

  private complain(what: string): void {
    this.problems.push(`export "${this.name}": ${what}`);
  }
}

function parse<Value>(value: Buffer, what: string, problems: string[]): Value | undefined {
  try {
    return JSON.parse(value.toString()) as Value;
  } catch {
    problems.push(`${what} is not readable`);
    return undefined;
  }
}

import { BitArray, PAGE_BYTES } from '../../base/bit-array.js';
import { formatSize } from '../../base/units.js';
import type { StoredState } from '../bitmap-set.js';
import { dirtyBytesOf, union } from '../dirty-bits.js';
import type { Key, KeyValueStore } from './key-value-store.js';
import { everyExport, formatKey } from './keys.js';
import type { StoredExport } from './left-disk.js';
import { RegionMark } from './region-mark.js';

/** The content of a store, and the inconsistencies in it. */
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
  /** What is marked in the active regions. */
  readonly markedBytes: number;
  readonly bitmaps: readonly StoredBitmapReport[];
}

interface StoredBitmapReport {
  readonly name: string;
  readonly granularityBytes: number;
  /** Dirty bytes in the stored bits. What is marked counts as dirty in addition. */
  readonly dirtyBytes: number;
  readonly recording: boolean;
  readonly frozen: boolean;
  readonly inconsistent?: string;
}

/** Reads every entry of the store. */
export function inspectStore(store: KeyValueStore): StoreReport {
  const problems: string[] = [];
  const exports = [...store.keys(everyExport)].flatMap((key) => {
    const report = new ExportInspection(store, String(key.at(-1)), problems).report();
    return report ? [report] : [];
  });
  return { formatVersion: formatOf(store), exports, problems };
}

function formatOf(store: KeyValueStore): number {
  try {
    return store.get(formatKey)?.[0] ?? 0;
  } catch {
    return 0;
  }
}

/** Inspects the entries of one export. */
class ExportInspection {
  private stored: StoredExport | undefined;
  private readonly states: { name: string; state: StoredState }[] = [];
  private readonly arrays = new Map<number, { bitmap: string; array: BitArray }>();
  private readonly strays = new Set<number>();
  private activeRegions = 0;
  private markedBytes = 0;

  constructor(
    private readonly store: KeyValueStore,
    private readonly name: string,
    private readonly problems: string[],
  ) {}

  /** Undefined when there is nothing to report except problems. */
  report(): StoredExportReport | undefined {
    const { name } = this;
    const damage = this.store.read(name, (key, value) => this.take(key, value));
    if (damage?.whole !== undefined) this.complain(damage.whole);
    for (const key of damage?.entries ?? []) this.complain(`${key.join('/')} does not match its checksum`);
    // After a crash, pages of a save that was not finished may be left; the next start removes them.
    if (this.stored?.clean) {
      for (const number of this.strays) this.complain(`array ${number} has pages but belongs to no bitmap`);
    }
    if (!this.stored) return undefined;
    const { identity, clean, regionBytes } = this.stored;
    const bitmaps = this.states.map((one) => this.bitmap(one.name, one.state, identity.sizeBytes));
    const { activeRegions, markedBytes } = this;
    return { name, sizeBytes: identity.sizeBytes, clean, regionBytes, activeRegions, markedBytes, bitmaps };
  }

  private take(key: Key, value: Buffer): void {
    if (key[0] === 'export') this.stored = this.parse<StoredExport>(value, 'its entry');
    if (key[0] === 'bitmap') this.takeBitmap(String(key.at(-1)), value);
    if (key[0] === 'page') this.takePage(Number(key.at(-2)), Number(key.at(-1)), value);
    if (key[0] === 'region') this.takeRegion(Number(key.at(-1)), value);
  }

  private takeBitmap(name: string, value: Buffer): void {
    const state = this.parse<StoredState>(value, `bitmap "${name}"`);
    if (!state || !this.stored) return;
    this.states.push({ name, state });
    const granules = Math.ceil(this.stored.identity.sizeBytes / state.granularityBytes);
    for (const number of [state.bits, state.successor]) {
      if (number !== undefined) this.arrays.set(number, { bitmap: name, array: new BitArray(granules) });
    }
  }

  private takePage(number: number, page: number, value: Buffer): void {
    const known = this.arrays.get(number);
    if (!known) this.strays.add(number);
    else if (page >= known.array.pageCount || value.length > PAGE_BYTES) {
      this.complain(`bitmap "${known.bitmap}" has a page ${page} that does not fit the size of the disk`);
    } else known.array.loadPage(page, value);
  }

  private takeRegion(region: number, value: Buffer): void {
    this.activeRegions++;
    if (!this.stored) return;
    const { regionBytes, identity } = this.stored;
    const offset = region * regionBytes;
    for (const part of RegionMark.decode(value, regionBytes).within(identity.sizeBytes - offset)) {
      this.markedBytes += part.length;
    }
    if (offset >= identity.sizeBytes) {
      this.complain(`a mark at ${formatSize(offset)} is beyond the end of the disk`);
    }
  }

  private bitmap(name: string, state: StoredState, sizeBytes: number): StoredBitmapReport {
    const { granularityBytes, enabled, inconsistent, successor } = state;
    const arrayOf = (number: number) => this.arrays.get(number)!.array;
    const all = successor === undefined ? arrayOf(state.bits) : union(arrayOf(state.bits), arrayOf(successor));
    return {
      name,
      granularityBytes,
      dirtyBytes: dirtyBytesOf(all, granularityBytes, sizeBytes),
      recording: enabled,
      frozen: successor !== undefined,
      ...(inconsistent === undefined ? {} : { inconsistent }),
    };
  }

  private parse<Value>(value: Buffer, what: string): Value | undefined {
    try {
      return JSON.parse(value.toString()) as Value;
    } catch {
      this.complain(`${what} cannot be read`);
      return undefined;
    }
  }

  private complain(what: string): void {
    this.problems.push(`export "${this.name}": ${what}`);
  }
}

import type { Change, KeyValueStore } from './key-value-store.js';
import { allRegions, regionKey } from './keys.js';
import type { RegionTable } from './region-table.js';
import type { StoredBitmaps } from './stored-bitmaps.js';

const MARK = Buffer.from([1]);

export interface RegionEntriesOptions {
  readonly exportName: string;
  readonly store: KeyValueStore;
  readonly stored: StoredBitmaps;
  /** The store's entry for the disk while it is served. */
  readonly describeDisk: () => Change;
}

/** The entries of one write-intent log in the store: region marks, and the bits stored when a mark is removed. */
export class RegionEntries {
  constructor(
    private readonly options: RegionEntriesOptions,
    private readonly regions: RegionTable,
  ) {}

  /** What changed in the bitmaps since the last save. */
  changes(): Change[] {
    return this.options.stored.changes(this.regions.rangesOf(this.regions.activeRegions()));
  }

  /** Replaces everything that the store has of the disk. */
  everything(): Change[] {
    const { exportName, store, stored, describeDisk } = this.options;
    const stale = [...store.keys(allRegions(exportName))].map((key) => ({ key, value: undefined }));
    return [describeDisk(), ...stale, ...stored.everything(), ...this.marks(this.regions.activeRegions())];
  }

  marks(regions: readonly number[]): Change[] {
    return regions.map((region) => ({ key: regionKey(this.options.exportName, region), value: MARK }));
  }

  removals(regions: readonly number[]): Change[] {
    return regions.map((region) => ({ key: regionKey(this.options.exportName, region), value: undefined }));
  }

  /** Removes the marks of regions and stores their bits. */
  coolings(regions: readonly number[]): Change[] {
    return [...this.removals(regions), ...this.options.stored.pagesOf(this.regions.rangesOf(regions))];
  }
}

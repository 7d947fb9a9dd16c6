import type { Log } from '../../base/log.js';
import { runToEnd } from '../../base/steps.js';
import type { DiskIdentity } from '../../storage/image/disk-identity.js';
import type { BitmapSet } from '../bitmap-set.js';
import type { Damage, Key, KeyValueStore } from './key-value-store.js';
import { allRegions } from './keys.js';
import type { StoredExport } from './left-disk.js';
import type { Plan } from './plan.js';
import { RegionMark } from './region-mark.js';
import type { ByteRange, StoredBitmaps } from './stored-bitmaps.js';

export interface RecoveryOptions {
  readonly exportName: string;
  readonly bitmaps: BitmapSet;
  readonly store: KeyValueStore;
  readonly log: Log;
}

/**
 * Corrects the loaded bitmaps after the disk was opened. `reason` says why they no longer describe the disk, if so.
 * Returns the ranges in which bits may have changed: those of the marked regions.
 */
export function recover(
  before: StoredExport,
  { sizeBytes }: DiskIdentity,
  options: RecoveryOptions,
  reason: string | undefined,
): ByteRange[] {
  const { exportName, bitmaps, log } = options;
  if (reason !== undefined) bitmaps.distrust(reason);
  // All backups ended with the server.
  for (const bitmap of bitmaps.list()) runToEnd(bitmaps.takingBack(bitmap, bitmap.freeze, []));
  if (reason !== undefined) {
    log.warn(
      { export: exportName, reason },
      'the disk is not as it was left: its bitmaps are inconsistent. Remove them, add them again, and take a full backup',
    );
    return [];
  }
  const marks = marksOf(options, before.regionBytes, sizeBytes);
  if (marks.length === 0) return [];
  const dirtyBefore = totalDirtyBytes(bitmaps);
  for (const { region, mark } of marks) {
    for (const part of mark.within(region.length)) bitmaps.markDirty(region.offset + part.offset, part.length);
  }
  const addedBytes = totalDirtyBytes(bitmaps) - dirtyBefore;
  log.warn({ export: exportName, regions: marks.length, addedBytes }, 'after a crash, marked regions count as dirty');
  return marks.map(({ region }) => region);
}

interface StoredMark {
  readonly region: ByteRange;
  readonly mark: RegionMark;
}

function marksOf({ exportName, store }: RecoveryOptions, regionBytes: number, sizeBytes: number): StoredMark[] {
  return [...store.keys(allRegions(exportName))].map((key) => {
    const offset = Number(key.at(-1)) * regionBytes;
    const region = { offset, length: Math.min(regionBytes, sizeBytes - offset) };
    return { region, mark: RegionMark.decode(valueAt(store, key), regionBytes) };
  });
}

/** Undefined when the value is damaged; all bitmaps of the disk are inconsistent then. */
function valueAt(store: KeyValueStore, key: Key): Buffer | undefined {
  try {
    return store.get(key);
  } catch {
    return undefined;
  }
}

/** Stores the corrected bitmaps and removes the region marks. */
export function planRecovered(
  ranges: readonly ByteRange[],
  stored: StoredBitmaps,
  { exportName, store }: RecoveryOptions,
): Plan {
  return withoutMarks(stored.plan({ marked: () => [], cooling: ranges }), exportName, store);
}

/** Replaces all entries of a disk in the store. */
export function replaceDamaged({ entries, whole }: Damage, stored: StoredBitmaps, options: RecoveryOptions): Plan {
  const { exportName, bitmaps, log } = options;
  const inconsistent = bitmaps.list().flatMap(({ name, inconsistent: reason }) => (reason === undefined ? [] : [name]));
  log.error(
    { export: exportName, damage: whole, damagedEntries: entries.length, inconsistent },
    'the stored bitmaps of this disk are damaged: those listed are inconsistent, and their next backup will be full',
  );
  return withoutMarks(stored.planAnew(), exportName, options.store);
}

function withoutMarks(plan: Plan, exportName: string, store: KeyValueStore): Plan {
  const marks = [...store.keys(allRegions(exportName))].map((key) => ({ key, value: undefined }));
  return { ...plan, rest: [...plan.rest, ...marks] };
}

function totalDirtyBytes(bitmaps: BitmapSet): number {
  return bitmaps.list().reduce((sum, bitmap) => sum + bitmap.dirtyBytes, 0);
}

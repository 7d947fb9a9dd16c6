import type { Log } from '../../base/log.js';
import type { DiskIdentity } from '../../storage/image/disk-identity.js';
import type { BitmapSet } from '../bitmap-set.js';
import type { Change, Damage, KeyValueStore } from './key-value-store.js';
import { allRegions } from './keys.js';
import type { StoredExport } from './left-disk.js';
import { wholeOf } from './saving.js';
import type { StoredBitmaps } from './stored-bitmaps.js';

export interface RecoveryOptions {
  readonly exportName: string;
  readonly bitmaps: BitmapSet;
  readonly store: KeyValueStore;
  readonly log: Log;
}

/**
 * Corrects the loaded bitmaps after the disk was opened. `reason` says why they no longer describe the disk, if so.
 * Returns the changes that store the result and remove the region marks.
 */
export function recover(
  before: StoredExport,
  identity: DiskIdentity,
  stored: StoredBitmaps,
  options: RecoveryOptions,
  reason: string | undefined,
): Change[] {
  const { exportName, bitmaps, store, log } = options;
  const marks = [...store.keys(allRegions(exportName))];
  if (reason !== undefined) for (const bitmap of bitmaps.list()) bitmap.markInconsistent(reason);
  // All backups ended with the server.
  for (const bitmap of bitmaps.list()) bitmaps.takeBack(bitmap, bitmap.freeze, []);
  if (reason !== undefined) {
    log.warn(
      { export: exportName, reason },
      'the disk is not as it was left: its bitmaps are inconsistent. Remove them, add them again, and take a full backup',
    );
    return [...wholeOf(stored.changes()), ...marks.map((key) => ({ key, value: undefined }))];
  }
  const ranges = marks.map((key) => {
    const offset = Number(key.at(-1)) * before.regionBytes;
    return { offset, length: Math.min(before.regionBytes, identity.sizeBytes - offset) };
  });
  const dirtyBefore = totalDirtyBytes(bitmaps);
  const changes = wholeOf(stored.changes(() => ranges));
  for (const { offset, length } of ranges) bitmaps.markDirty(offset, length);
  const removed = marks.map((key) => ({ key, value: undefined }));
  if (marks.length > 0) {
    const addedBytes = totalDirtyBytes(bitmaps) - dirtyBefore;
    log.warn({ export: exportName, regions: marks.length, addedBytes }, 'after a crash, marked regions count as dirty');
  }
  return [...changes, ...wholeOf({ pages: stored.pagesOf(ranges), rest: removed })];
}

/** Replaces all entries of a disk in the store. */
export function replaceDamaged(
  { entries, whole }: Damage,
  stored: StoredBitmaps,
  { exportName, bitmaps, store, log }: RecoveryOptions,
): Change[] {
  const inconsistent = bitmaps.list().flatMap(({ name, inconsistent: reason }) => (reason === undefined ? [] : [name]));
  log.error(
    { export: exportName, damage: whole, damagedEntries: entries.length, inconsistent },
    'the stored bitmaps of this disk are damaged: those listed are inconsistent, and their next backup will be full',
  );
  const marks = [...store.keys(allRegions(exportName))].map((key) => ({ key, value: undefined }));
  return [...marks, ...stored.everything()];
}

function totalDirtyBytes(bitmaps: BitmapSet): number {
  return bitmaps.list().reduce((sum, bitmap) => sum + bitmap.dirtyBytes, 0);
}

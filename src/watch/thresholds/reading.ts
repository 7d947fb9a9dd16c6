import type { BackupRecord } from '../../backup/backup-record.js';
import type { Export } from '../../export/export.js';
import type { FreeSpace } from './free-space.js';
import type { AgeThreshold, DirtyThreshold, RoomThreshold, ThresholdSpec } from './threshold-spec.js';

/** A value that goes back and forth near the limit does not cross it each time. */
const CLEAR_DIRTY_SHARE = 0.9;
const CLEAR_ROOM_SHARE = 1.1;

/** What a threshold is about, and how far it is. */
export interface Reading {
  readonly export?: string;
  readonly bitmap?: string;
  readonly limitBytes?: number;
  readonly valueBytes?: number;
  readonly limitSeconds?: number;
  readonly ageSeconds?: number;
}

/** What thresholds read besides the exports. */
export interface Surroundings {
  readonly freeSpace: FreeSpace;
  readonly places: { readonly state: string; readonly scratch: string };
  /** When the last backup of a bitmap was committed, or else when the export was first seen, in milliseconds. */
  readonly lastBackup: (exportName: string, bitmap: string) => number;
  /** In milliseconds. */
  readonly now: number;
}

/** Beyond the limit, or far enough from it to count as cleared; undefined: neither, or not known. */
export type Side = 'beyond' | 'within' | undefined;

/** What a threshold says of an export; undefined: it does not apply to it. */
export function readExport(
  spec: ThresholdSpec,
  served: Export,
  around: Surroundings,
): { readonly reading: Reading; readonly side: Side } | undefined {
  if (!spec.exports.some((pattern) => pattern.matches(served.name))) return undefined;
  switch (spec.kind) {
    case 'dirty':
      return readDirty(spec, served);
    case 'backup-age':
      return readAge(spec, served, around);
    case 'room':
      return spec.of === 'disk' ? readRoom(spec, served.path, around, served.name) : undefined;
  }
}

/** The room of a place that belongs to no export. */
export function readPlace(
  spec: RoomThreshold & { readonly of: 'state' | 'scratch' },
  around: Surroundings,
): { readonly reading: Reading; readonly side: Side } {
  return readRoom(spec, around.places[spec.of], around);
}

/** When the last backup of each bitmap was committed, in milliseconds, by export and bitmap. */
export function commitTimes(records: readonly BackupRecord[]): Map<string, number> {
  const times = new Map<string, number>();
  // The list begins with the oldest, so the newest commit wins.
  for (const { state, bitmap, parts, endedAt } of records) {
    if (state !== 'committed' || endedAt === undefined) continue;
    for (const part of parts) times.set(bitmapKey(part.export, bitmap), Date.parse(endedAt));
  }
  return times;
}

export function bitmapKey(exportName: string, bitmap: string): string {
  return JSON.stringify([exportName, bitmap]);
}

function readDirty({ bitmap, limit }: DirtyThreshold, served: Export) {
  const valueBytes = served.findBitmap(bitmap)?.dirtyBytes;
  if (valueBytes === undefined) return undefined;
  const limitBytes = 'bytes' in limit ? limit.bytes : Math.ceil((served.sizeBytes * limit.percent) / 100);
  const side: Side =
    valueBytes >= limitBytes ? 'beyond' : valueBytes < limitBytes * CLEAR_DIRTY_SHARE ? 'within' : undefined;
  return { reading: { export: served.name, bitmap, limitBytes, valueBytes }, side };
}

function readAge({ bitmap, ageSeconds: limitSeconds }: AgeThreshold, { name }: Export, around: Surroundings) {
  const ageSeconds = Math.floor((around.now - around.lastBackup(name, bitmap)) / 1000);
  const side: Side = ageSeconds > limitSeconds ? 'beyond' : 'within';
  return { reading: { export: name, bitmap, limitSeconds, ageSeconds }, side };
}

function readRoom({ bytes: limitBytes }: RoomThreshold, path: string, { freeSpace }: Surroundings, name?: string) {
  const valueBytes = freeSpace.of(path);
  const about = name === undefined ? {} : { export: name };
  if (valueBytes === undefined || valueBytes === Number.POSITIVE_INFINITY) {
    const side: Side = valueBytes === undefined ? undefined : 'within';
    return { reading: { ...about, limitBytes }, side };
  }
  const side: Side =
    valueBytes < limitBytes ? 'beyond' : valueBytes > limitBytes * CLEAR_ROOM_SHARE ? 'within' : undefined;
  return { reading: { ...about, limitBytes, valueBytes }, side };
}

import { CodedError } from '../base/coded-error.js';
import type { Errno } from '../base/errno.js';
import { KIB, MIB } from '../base/units.js';
import type { Undo } from '../bitmap/bitmap-set.js';
import { changeAtOneInstant, type HeldWrites } from '../export/cut.js';
import type { Export } from '../export/export.js';
import { FrozenBitmapContext, FullContext } from '../export/metadata-context.js';
import { View } from '../export/view.js';
import { type OnScratchFull, Snapshot } from '../snapshot/snapshot.js';
import type { BlockDevice } from '../storage/block-device.js';
import { Backup, type BackupPart } from './backup.js';
import type { BackupRecord, PartRecord } from './backup-record.js';
import { type ChainRequest, freeze, linkTo } from './chain.js';
import type { RecordChange } from './record-store.js';

/** Old data is copied in pieces of a bitmap's granules, within these limits. */
const MIN_COPY_BYTES = 4 * KIB;
const MAX_COPY_BYTES = 1 * MIB;

export interface BeginRequest extends ChainRequest {
  readonly exports: readonly string[];
  readonly ttlSeconds: number;
  /** Bytes of old data kept for the views at most; undefined: as much as there is room. */
  readonly scratchLimitBytes?: number | undefined;
  readonly onScratchFull: OnScratchFull;
}

export interface BeginHost {
  /** An empty, sparse device of that size. @throws CodedError SCRATCH_UNUSABLE */
  readonly openScratch: (sizeBytes: number) => Promise<BlockDevice>;
  /** The image as it is now, read-only; undefined where the file system cannot clone. */
  readonly clone: (served: Export) => Promise<BlockDevice | undefined>;
  /** Makes the backup known at the instant of its cut; returns what takes that back. */
  readonly register: (backup: Backup) => Undo;
  /** What to store with the cut. */
  readonly record: (backup: Backup) => readonly RecordChange[];
  /** A view can go on no more. */
  readonly broken: (id: string, exportName: string, errno: Errno) => void;
}

/** What is got ready before the cut, for writes wait while it is made. */
interface Preparation {
  readonly served: Export;
  readonly scratch: BlockDevice;
  readonly allocatedBytes: number;
  /** Made in the cut. */
  clone: BlockDevice | undefined;
}

/**
 * Begins a backup of some exports, all cut at one instant: bitmaps frozen, views made, the session stored, or nothing.
 * @throws CodedError BITMAP_BUSY, BITMAP_DISABLED, BASE_MISMATCH, SCRATCH_UNUSABLE, and those of a cut
 */
export async function beginBackup(
  id: string,
  request: BeginRequest,
  exports: readonly Export[],
  host: BeginHost,
): Promise<{ backup: Backup; held: HeldWrites }> {
  // Before anything is made for it; the cut looks again.
  for (const served of exports) linkTo(served.name, served.bitmaps, request);
  const prepared = await prepare(exports, host);
  let backup: Backup | undefined;
  try {
    const held = await changeAtOneInstant(exports, {
      prepare: async () => {
        for (const one of prepared) one.clone = await host.clone(one.served);
      },
      apply: () => {
        const made = cut(id, request, prepared, host);
        backup = made.backup;
        return made.undo;
      },
      records: () => host.record(backup!),
    });
    await Promise.all(prepared.map(({ scratch, clone }) => clone && scratch.close()));
    return { backup: backup!, held };
  } catch (error) {
    await Promise.all(prepared.flatMap(({ scratch, clone }) => [scratch.close(), clone?.close()]));
    throw error;
  }
}

async function prepare(exports: readonly Export[], host: BeginHost): Promise<Preparation[]> {
  const prepared: Preparation[] = [];
  try {
    for (const served of exports) {
      const allocatedBytes = await served.allocatedBytes();
      prepared.push({ served, allocatedBytes, scratch: await host.openScratch(served.sizeBytes), clone: undefined });
    }
    return prepared;
  } catch (error) {
    await Promise.all(prepared.map(({ scratch }) => scratch.close()));
    throw error;
  }
}

/** All at once, while nothing is written. */
function cut(
  id: string,
  request: BeginRequest,
  prepared: readonly Preparation[],
  host: BeginHost,
): { backup: Backup; undo: Undo } {
  const undos: Undo[] = [];
  const undo = () => {
    for (const one of undos.splice(0).reverse()) one();
  };
  try {
    const parts = prepared.map((preparation) => cutOne(id, request, preparation, host, undos));
    const backup = new Backup(firstRecord(id, request, parts), parts);
    undos.push(host.register(backup));
    return { backup, undo };
  } catch (error) {
    undo();
    throw error;
  }
}

function cutOne(
  id: string,
  request: BeginRequest,
  { served, scratch, clone, allocatedBytes }: Preparation,
  host: BeginHost,
  undos: Undo[],
): BackupPart {
  if (served.sizeBytes !== scratch.sizeBytes) {
    throw new CodedError('BACKUP_INVALID', `"${served.name}" was resized while the backup began`, 'begin it again');
  }
  const { bitmaps, sizeBytes } = served;
  const { fullReason, base } = linkTo(served.name, bitmaps, request);
  undos.push(freeze(bitmaps, request.bitmap, served.persistence !== undefined));
  const bitmap = bitmaps.get(request.bitmap);
  const dirtyBytes = fullReason ? sizeBytes : bitmap.dirtyBytes;
  const snapshot = new Snapshot({
    // A clone never changes, so nothing of it is copied.
    source: clone ?? served.disk,
    sizeBytes,
    granuleBytes: Math.min(Math.max(bitmap.granularityBytes, MIN_COPY_BYTES), MAX_COPY_BYTES),
    scratch: clone ?? scratch,
    limitBytes: request.scratchLimitBytes ?? Number.POSITIVE_INFINITY,
    onScratchFull: request.onScratchFull,
    onFailure: (errno) => host.broken(id, served.name, errno),
  });
  const detach = clone ? () => {} : served.copyBeforeWrite.attach(snapshot);
  undos.push(detach);
  const record: PartRecord = {
    export: served.name,
    mode: fullReason ? 'full' : 'incremental',
    ...(fullReason && { fullReason }),
    base,
    sizeBytes,
    granularityBytes: bitmap.granularityBytes,
    dirtyBytes,
    estimatedReadBytes: fullReason ? allocatedBytes : dirtyBytes,
  };
  const view = new View({
    name: `${served.name}@${id}`,
    description: `"${served.name}" as it was when backup ${id} began`,
    device: snapshot.device,
    changes: fullReason ? new FullContext(bitmap.name) : new FrozenBitmapContext(bitmap),
  });
  return { served, bitmap, snapshot, view, record, detach };
}

function firstRecord(id: string, request: BeginRequest, parts: readonly BackupPart[]): BackupRecord {
  const { bitmap, ttlSeconds, onScratchFull, scratchLimitBytes } = request;
  return {
    id,
    bitmap,
    state: 'active',
    startedAt: new Date().toISOString(),
    ttlSeconds,
    onScratchFull,
    ...(scratchLimitBytes === undefined ? {} : { scratchLimitBytes }),
    parts: parts.map(({ record }) => record),
  };
}

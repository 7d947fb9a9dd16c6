import type { DiskLocation, NewBackup } from '../api/backup.js';
import { CodedError } from '../base/coded-error.js';
import type { Errno } from '../base/errno.js';
import { KIB, MIB } from '../base/units.js';
import type { Freeze } from '../bitmap/bitmap-state.js';
import type { DirtyBitmap } from '../bitmap/dirty-bitmap.js';
import { type Undo, undoable } from '../bitmap/undo.js';
import type { Export } from '../export/export.js';
import {
  FrozenBitmapContext,
  FullContext,
  type MetadataContext,
  OverwrittenContext,
} from '../export/metadata-context.js';
import { View } from '../export/view.js';
import type { Scratch } from '../snapshot/scratch.js';
import { ScratchBudget } from '../snapshot/scratch-budget.js';
import { Snapshot } from '../snapshot/snapshot.js';
import type { BlockDevice } from '../storage/device/block-device.js';
import { Backup, type BackupPart } from './backup.js';
import type { BackupRecord, PartRecord } from './backup-record.js';
import { freezeBitmap, type Link, linkTo } from './base-link.js';
import type { RecordChange } from './record-store.js';

/** Old data is copied in pieces of one granule of the bitmap, within these limits. */
const MIN_COPY_BYTES = 4 * KIB;
const MAX_COPY_BYTES = 1 * MIB;

export type BeginRequest = NewBackup & Required<Pick<NewBackup, 'ttlSeconds' | 'onScratchFull'>>;

export interface BeginHost {
  /** Opens an empty, sparse device with this size. @throws CodedError SCRATCH_UNUSABLE */
  readonly openScratch: (sizeBytes: number) => Promise<Scratch>;
  /** A read-only clone of the image as it is now; undefined where the file system cannot clone. */
  readonly clone: (served: Export) => Promise<BlockDevice | undefined>;
  /** Registers the backup at the instant of its cut. Returns the undo. */
  readonly register: (backup: Backup) => Undo;
  /** The records to store with the cut. */
  readonly record: (backup: Backup) => readonly RecordChange[];
  /** Called when a view has failed. */
  readonly broken: (id: string, exportName: string, errno: Errno) => void;
}

/** Prepared before the cut, because writes wait during the cut. */
export interface Preparation {
  readonly served: Export;
  readonly scratch: Scratch;
  readonly allocatedBytes: number;
  readonly location: DiskLocation | undefined;
  /** Created during the cut. */
  clone: BlockDevice | undefined;
}

/** Makes the cut of the prepared exports while nothing is written. Returns the backup and the undo. */
export function cut(
  id: string,
  request: BeginRequest,
  prepared: readonly Preparation[],
  host: BeginHost,
): { backup: Backup; undo: Undo } {
  let backup: Backup | undefined;
  const undo = undoable((undos) => {
    const cutter = new Cutter(id, request, host, undos);
    const parts = prepared.map((one) => cutter.cut(one));
    backup = new Backup(firstRecord(id, request, parts), parts);
    undos.push(host.register(backup));
  });
  return { backup: backup!, undo };
}

/** Cuts one export after another; pushes the undo of each step. */
class Cutter {
  /** Shared by all parts of the backup. */
  private readonly budget: ScratchBudget;

  constructor(
    private readonly id: string,
    private readonly request: BeginRequest,
    private readonly host: BeginHost,
    private readonly undos: Undo[],
  ) {
    this.budget = new ScratchBudget(request.scratchLimitBytes ?? Number.POSITIVE_INFINITY);
  }

  cut(prepared: Preparation): BackupPart {
    const { served, scratch, clone } = prepared;
    if (served.sizeBytes !== scratch.sizeBytes) {
      throw new CodedError('BACKUP_INVALID', `"${served.name}" was resized while the backup began`, 'begin it again');
    }
    const { bitmaps, persistence, copyBeforeWrite } = served;
    const link = linkTo(served.name, bitmaps, this.request);
    const { bitmap, freeze } = freezeBitmap(bitmaps, this.request.bitmap, persistence !== undefined, this.undos);
    const snapshot = this.snapshotOf(prepared, bitmap);
    const detach = clone ? () => snapshot.end() : copyBeforeWrite.attach(snapshot);
    this.undos.push(detach);
    const record = describe(prepared, bitmap, link);
    // With a clone there is no record of what is overwritten.
    const [location, live] = clone ? [undefined, []] : [prepared.location, [new OverwrittenContext(snapshot)]];
    const view = this.viewOf(served, snapshot.device, [changesOf(record, bitmap.name, freeze), ...live]);
    return { served, bitmap, freeze, snapshot, view, record, location, detach };
  }

  private snapshotOf({ served, scratch, clone }: Preparation, { granularityBytes }: DirtyBitmap): Snapshot {
    const { id, host, request, budget } = this;
    return new Snapshot({
      // A clone never changes, so nothing of it is copied.
      source: clone ?? served.disk,
      scratch: clone ?? scratch,
      sizeBytes: served.sizeBytes,
      granuleBytes: Math.min(Math.max(granularityBytes, MIN_COPY_BYTES), MAX_COPY_BYTES),
      budget,
      onScratchFull: request.onScratchFull,
      onFailure: (errno) => host.broken(id, served.name, errno),
    });
  }

  private viewOf({ name, minBlockBytes }: Export, device: BlockDevice, contexts: readonly MetadataContext[]): View {
    return new View({
      name: `${name}@${this.id}`,
      minBlockBytes,
      description: `"${name}" as it was when backup ${this.id} began`,
      device,
      contexts,
    });
  }
}

function changesOf({ mode }: PartRecord, bitmap: string, freeze: Freeze): MetadataContext {
  return mode === 'full' ? new FullContext(bitmap) : new FrozenBitmapContext(bitmap, freeze);
}

function describe(
  { served: { name, sizeBytes }, allocatedBytes }: Preparation,
  { granularityBytes, dirtyBytes }: DirtyBitmap,
  { fullReason, base }: Link,
): PartRecord {
  const common = { export: name, base, sizeBytes, granularityBytes };
  return fullReason
    ? { ...common, mode: 'full', fullReason, dirtyBytes: sizeBytes, estimatedReadBytes: allocatedBytes }
    : { ...common, mode: 'incremental', dirtyBytes, estimatedReadBytes: dirtyBytes };
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

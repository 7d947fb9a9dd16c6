import type { DiskLocation, NewBackup } from '../api/backup.js';
import { CodedError } from '../base/coded-error.js';
import type { Errno } from '../base/errno.js';
import type { Freeze } from '../bitmap/bitmap-state.js';
import type { DirtyBitmap } from '../bitmap/dirty-bitmap.js';
import type { Undo } from '../bitmap/undo.js';
import type { Instant } from '../export/cut.js';
import type { Export } from '../export/export.js';
import {
  FrozenBitmapContext,
  FullContext,
  type MetadataContext,
  OverwrittenContext,
} from '../export/metadata-context.js';
import type { QuietExport } from '../export/quiet-export.js';
import { View } from '../export/view.js';
import { ClonedDisk } from '../snapshot/cloned-disk.js';
import type { Scratch } from '../snapshot/scratch.js';
import { ScratchBudget } from '../snapshot/scratch-budget.js';
import type { SnapshotOptions } from '../snapshot/snapshot-options.js';
import type { BlockDevice } from '../storage/device/block-device.js';
import { PIECE_BYTES } from '../storage/permits/permit-memory.js';
import { Backup, type BackupPart } from './backup.js';
import type { BackupRecord, PartRecord } from './backup-record.js';
import { freezeBitmap, type Link, linkTo } from './base-link.js';

export type BeginRequest = NewBackup &
  Required<Pick<NewBackup, 'ttlSeconds' | 'onScratchFull'>> & {
    /** Who asks, see `describeIdentity`. */
    readonly by?: string;
  };

/** An export before the cut. */
export interface PreparedExport {
  readonly served: Export;
  readonly sizeBytes: number;
  readonly allocatedBytes: number;
  readonly location: DiskLocation | undefined;
  /** Undefined when its image will be cloned during the cut. */
  readonly scratch: Scratch | undefined;
}

/** What the view of an export is made from: a clone of its image, or its disk and space for old data. */
export type Origin = { readonly clone: BlockDevice } | { readonly scratch: Scratch };

interface Making {
  readonly id: string;
  readonly request: BeginRequest;
  readonly origins: ReadonlyMap<PreparedExport, Origin>;
  readonly instant: Instant;
  readonly undos: Undo[];
}

/** Makes a backup while nothing is written: freezes the bitmap and makes the view of each export. */
export function makeBackup(making: Making): Backup {
  const { id, request, origins } = making;
  const budget = new ScratchBudget(request.scratchLimitBytes ?? Number.POSITIVE_INFINITY);
  const parts = [...origins].map(([prepared, origin]) => makePart(making, prepared, origin, budget));
  return new Backup(firstRecord(id, request, parts), parts);
}

function makePart(
  { id, request, instant, undos }: Making,
  prepared: PreparedExport,
  origin: Origin,
  budget: ScratchBudget,
): BackupPart {
  const { served, sizeBytes } = prepared;
  if (served.sizeBytes !== sizeBytes) {
    throw new CodedError('BACKUP_INVALID', `"${served.name}" was resized while the backup began`, 'begin it again');
  }
  const quiet = instant.get(served);
  const { bitmaps, persistent } = quiet;
  const link = linkTo(served.name, bitmaps.find(request.bitmap), request);
  const { bitmap, freeze } = freezeBitmap(bitmaps, request.bitmap, persistent, undos);
  // At least what a permit covers: after a write to a part of that, other threads may write to all of it.
  const pieceBytes = Math.max(PIECE_BYTES, served.minBlockBytes);
  const { onScratchFull } = request;
  const { contexts, ...attached } =
    'clone' in origin
      ? cloned(origin.clone, pieceBytes)
      : copied(quiet, prepared, { ...origin, sizeBytes, pieceBytes, budget, onScratchFull });
  undos.push(attached.detach);
  const record = describe(prepared, bitmap, link);
  const view = viewOf(id, served, attached.source.device, [changesOf(record, bitmap.name, freeze), ...contexts]);
  return { served, bitmap, freeze, view, record, ...attached };
}

/** The source of a part, and what its view reports in addition. */
type Attached = Pick<BackupPart, 'source' | 'detach' | 'broken' | 'location'> & {
  readonly contexts: readonly MetadataContext[];
};

/** A clone is not attached to anything, and there is no record of what is overwritten on the live disk. */
function cloned(clone: BlockDevice, pieceBytes: number): Attached {
  const source = new ClonedDisk(clone, pieceBytes);
  return { source, detach: () => {}, broken: undefined, location: undefined, contexts: [] };
}

function copied(
  quiet: QuietExport,
  { location }: PreparedExport,
  options: Omit<SnapshotOptions, 'source' | 'onFailure'>,
): Attached {
  let onFailure = (_errno: Errno) => {};
  const broken = new Promise<Errno>((resolve) => {
    onFailure = resolve;
  });
  const { snapshot, detach } = quiet.snapshot({ ...options, onFailure });
  return { source: snapshot, detach, broken, location, contexts: [new OverwrittenContext(snapshot)] };
}

function viewOf(id: string, exported: Export, device: BlockDevice, contexts: readonly MetadataContext[]): View {
  const { name, minBlockBytes, latencyBounds } = exported;
  return new View({
    name: `${name}@${id}`,
    exported,
    minBlockBytes,
    latencyBounds,
    description: `"${name}" as it was when backup ${id} began`,
    device,
    contexts,
  });
}

function changesOf({ mode }: PartRecord, bitmap: string, freeze: Freeze): MetadataContext {
  return mode === 'full' ? new FullContext(bitmap) : new FrozenBitmapContext(bitmap, freeze);
}

function describe(
  { served: { name }, sizeBytes, allocatedBytes }: PreparedExport,
  { granularityBytes, dirtyBytes }: DirtyBitmap,
  { fullReason, base }: Link,
): PartRecord {
  const common = { export: name, base, sizeBytes, granularityBytes };
  return fullReason
    ? { ...common, mode: 'full', fullReason, dirtyBytes: sizeBytes, estimatedReadBytes: allocatedBytes }
    : { ...common, mode: 'incremental', dirtyBytes, estimatedReadBytes: dirtyBytes };
}

function firstRecord(id: string, request: BeginRequest, parts: readonly BackupPart[]): BackupRecord {
  const { bitmap, ttlSeconds, onScratchFull, scratchLimitBytes, by } = request;
  return {
    id,
    bitmap,
    state: 'active',
    startedAt: new Date().toISOString(),
    ...(by === undefined ? {} : { startedBy: by }),
    ttlSeconds,
    onScratchFull,
    ...(scratchLimitBytes === undefined ? {} : { scratchLimitBytes }),
    parts: parts.map(({ record }) => record),
  };
}

import type { HeldWrites } from '../api/transaction.js';
import { Cleanup } from '../base/cleanup.js';
import { changeAtOneInstant, patienceFor } from '../export/cut.js';
import type { Export } from '../export/export.js';
import type { Patience } from '../export/patience.js';
import type { BlockDevice } from '../storage/device/block-device.js';
import type { Backup } from './backup.js';
import { linkTo } from './base-link.js';
import { type BeginRequest, makeBackup, type Origin, type PreparedExport } from './make-backup.js';
import type { RecordStore } from './record-store.js';
import type { ScratchDirectory } from './scratch-directory.js';

export interface Beginning {
  readonly id: string;
  readonly request: BeginRequest;
  readonly exports: readonly Export[];
  readonly scratch: ScratchDirectory;
  readonly records: RecordStore;
}

/**
 * Begins a backup of some exports, all cut at one instant: freezes the bitmaps, creates the views and stores the
 * session, or changes nothing. @throws CodedError BITMAP_BUSY, BITMAP_DISABLED, BASE_MISMATCH, SCRATCH_UNUSABLE, and
 * those of a cut
 */
export async function beginBackup(beginning: Beginning): Promise<{ backup: Backup; held: HeldWrites }> {
  const { id, request, exports, scratch, records } = beginning;
  const opened = new Cleanup();
  try {
    const prepared = await prepareInTime(beginning, opened);
    const { made, held } = await changeAtOneInstant(exports, {
      // Beginning a backup makes nothing clean.
      flush: 'nothing',
      apply: async (undos, instant) => {
        const origins = new Map<PreparedExport, Origin>();
        for (const one of prepared) origins.set(one, await originOf(one, scratch, instant.patience, opened));
        return makeBackup({ id, request, origins, instant, undos });
      },
      records: (backup) => records.changes(backup.record()),
    });
    return { backup: made, held };
  } catch (error) {
    // The reason why the backup cannot begin is what matters.
    await opened.run().catch(() => {});
    throw error;
  }
}

async function prepareInTime(beginning: Beginning, opened: Cleanup): Promise<PreparedExport[]> {
  const { exports, request, scratch } = beginning;
  const patience = patienceFor(exports);
  try {
    for (const served of exports) await patience.waitFor(served, served.noticeOutsideChanges());
    // Fail early, before anything is created. The cut checks again.
    for (const served of exports) linkTo(served.name, served.findBitmap(request.bitmap), request);
    const prepared: PreparedExport[] = [];
    for (const served of exports) prepared.push(await prepare(served, scratch, patience, opened));
    return prepared;
  } finally {
    patience.end();
  }
}

/** Everything that takes time and does not need writes to wait. */
async function prepare(
  served: Export,
  directory: ScratchDirectory,
  patience: Patience,
  opened: Cleanup,
): Promise<PreparedExport> {
  const { sizeBytes } = served;
  const allocatedBytes = await patience.waitFor(served, served.allocatedBytes());
  const location = await patience.waitFor(served, served.locate());
  const image = location && { ...location, sizeBytes };
  const willClone = image && (await patience.waitFor(served, directory.canClone(served, image)));
  const scratch = willClone ? undefined : closedBy(opened, await directory.open(sizeBytes));
  return { served, sizeBytes, allocatedBytes, location, scratch };
}

/** Clones the image of an export that has no scratch space, while writes wait. */
async function originOf(
  { served, sizeBytes, location, scratch }: PreparedExport,
  directory: ScratchDirectory,
  patience: Patience,
  opened: Cleanup,
): Promise<Origin> {
  if (scratch) return { scratch };
  const cloned = directory.clone(served, { ...location!, sizeBytes });
  const clone = await patience.waitFor(served, cloned, (late) => late?.close());
  if (clone) return { clone: closedBy(opened, clone) };
  // It could be cloned before, but not now: its folder may be full.
  const made = await patience.waitFor(served, directory.open(sizeBytes), (late) => late.close());
  return { scratch: closedBy(opened, made) };
}

function closedBy<Device extends BlockDevice>(opened: Cleanup, device: Device): Device {
  opened.defer(() => device.close());
  return device;
}

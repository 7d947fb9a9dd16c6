import type { HeldWrites } from '../api/transaction.js';
import { changeAtOneInstant, patienceFor } from '../export/cut.js';
import type { Export } from '../export/export.js';
import type { Patience } from '../export/patience.js';
import type { Backup } from './backup.js';
import { linkTo } from './base-link.js';
import { type BeginHost, type BeginRequest, cut, type Preparation } from './cut-backup.js';

export type { BeginRequest };

/**
 * Begins a backup of some exports, all cut at one instant: freezes the bitmaps, creates the views and stores the
 * session, or changes nothing. @throws CodedError BITMAP_BUSY, BITMAP_DISABLED, BASE_MISMATCH, SCRATCH_UNUSABLE, and
 * those of a cut
 */
export async function beginBackup(
  id: string,
  request: BeginRequest,
  exports: readonly Export[],
  host: BeginHost,
): Promise<{ backup: Backup; held: HeldWrites }> {
  const prepared = await prepareInTime(exports, request, host);
  let abandoned = false;
  let backup: Backup | undefined;
  let held: HeldWrites;
  try {
    held = await changeAtOneInstant(exports, {
      // Beginning a backup makes nothing clean.
      flush: 'nothing',
      prepare: async (patience) => {
        for (const one of prepared) {
          const made = host.clone(one.served).then((clone) => {
            // The backup gave up before the clone was ready.
            if (abandoned) return clone?.close();
            one.clone = clone;
          });
          await patience.waitFor(one.served, made);
        }
      },
      apply: () => {
        const made = cut(id, request, prepared, host);
        backup = made.backup;
        return made.undo;
      },
      records: () => host.record(backup!),
    });
  } catch (error) {
    abandoned = true;
    await Promise.all(prepared.flatMap(({ scratch, clone }) => [scratch.close(), clone?.close()]));
    throw error;
  }
  // A view of a clone needs no scratch. The backup has begun even if closing one fails.
  await Promise.allSettled(prepared.map(({ scratch, clone }) => clone && scratch.close()));
  return { backup: backup!, held };
}

async function prepareInTime(
  exports: readonly Export[],
  request: BeginRequest,
  host: BeginHost,
): Promise<Preparation[]> {
  const patience = patienceFor(exports);
  try {
    for (const served of exports) await patience.waitFor(served, noticeOutsideChanges(served));
    // Fail early, before anything is created. The cut checks again.
    for (const served of exports) linkTo(served.name, served.bitmaps, request);
    return await prepare(exports, host, patience);
  } finally {
    patience.end();
  }
}

async function noticeOutsideChanges({ persistence }: Export): Promise<void> {
  await persistence?.noticeOutsideChanges();
}

async function prepare(exports: readonly Export[], host: BeginHost, patience: Patience): Promise<Preparation[]> {
  const prepared: Preparation[] = [];
  try {
    for (const served of exports) {
      const allocatedBytes = await patience.waitFor(served, served.allocatedBytes());
      const location = await patience.waitFor(served, served.locate());
      const scratch = await host.openScratch(served.sizeBytes);
      prepared.push({ served, allocatedBytes, location, scratch, clone: undefined });
    }
    return prepared;
  } catch (error) {
    await Promise.all(prepared.map(({ scratch }) => scratch.close()));
    throw error;
  }
}

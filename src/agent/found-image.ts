import { stat } from 'node:fs/promises';
import { checkImage } from '../qcow2/check-image.js';
import { Qcow2Image } from '../qcow2/image.js';
import { Qcow2Error } from '../qcow2/qcow2-error.js';
import { isSystemError } from './agent-error.js';
import { idOfImage } from './export-folder.js';
import { findDamage, readChecksum } from './inspect-image.js';
import type { ImageEntry } from './manifest-format.js';
import { type OwnEntry, ownEntryIn } from './own-entry.js';

/** What an image tells of itself: `entry` when it is one of tidemark's, else `problem`. */
export type FoundImage =
  | { readonly entry: ImageEntry; readonly exportName: string | undefined }
  | { readonly problem: string };

/**
 * Makes the entry of an image anew, from what the image says of itself, and checks it against the file. An image that is
 * damaged behind its first cluster has an entry that says so. One from before images carried their entries is measured:
 * that is marked, because nobody can tell whether it was changed since it was taken.
 */
export async function inspectFound(path: string, id: string, signal: AbortSignal): Promise<FoundImage> {
  try {
    const own = await readOwnEntry(path);
    if (own === 'damaged') return { problem: 'its first cluster is damaged' };
    if (!own) return { entry: await measure(path, id, signal), exportName: undefined };
    const { entry, exportName } = own;
    if (entry.id !== id) return { problem: `it says of itself that it is ${entry.id}` };
    const problem = await findDamage(path, entry, signal);
    if (problem === undefined || entry.damage) return { entry, exportName };
    const damage = { foundBy: 'verify', foundAt: new Date().toISOString(), problem } as const;
    return { entry: { ...entry, damage }, exportName };
  } catch (error) {
    if (error instanceof Qcow2Error) return { problem: error.problem };
    if (isSystemError(error)) return { problem: error.message };
    throw error;
  }
}

/** Reads its first cluster only. @throws Qcow2Error, and errors of the system */
export async function readOwnEntry(path: string): Promise<OwnEntry | 'damaged' | undefined> {
  await using image = await Qcow2Image.open(path);
  return ownEntryIn(image.head);
}

/** What can be had of an entry from the file alone. @throws Qcow2Error, and errors of the system */
async function measure(path: string, id: string, signal: AbortSignal): Promise<ImageEntry> {
  const { dataBytes, zeroBytes } = await checkImage(path, signal);
  const { size: fileBytes, mtime } = await stat(path);
  await using image = await Qcow2Image.open(path);
  const { backingName, sizeBytes } = image;
  const base = backingName === undefined ? null : idOfImage(backingName);
  if (base === undefined) throw new Qcow2Error(path, `it lies on ${backingName}, which is no restore point`);
  return {
    id,
    base,
    mode: base === null ? 'full' : 'incremental',
    takenAt: (timeOfId(id) ?? mtime).toISOString(),
    ...{ durationSeconds: 0, sizeBytes, dirtyBytes: 0, readBytes: 0, dataBytes, zeroBytes, fileBytes },
    checksum: await readChecksum(path, fileBytes, signal),
    measured: true,
  };
}

/** Ids begin with the instant in which their backup began, in UTC. */
function timeOfId(id: string): Date | undefined {
  const match = /^(\d{4})(\d\d)(\d\d)-(\d\d)(\d\d)(\d\d)-/.exec(id);
  if (!match) return undefined;
  const [, year, month, day, hour, minute, second] = match;
  const time = new Date(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  return Number.isNaN(time.getTime()) ? undefined : time;
}

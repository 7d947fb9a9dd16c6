import { stat } from 'node:fs/promises';
import { timeOfId } from '../base/timed-id.js';
import { checkImage } from '../qcow2/check-image.js';
import { Qcow2Image } from '../qcow2/image.js';
import { Qcow2Error } from '../qcow2/image-file.js';
import { isSystemError } from './agent-error.js';
import { idOfImage } from './export-folder.js';
import { readChecksum } from './image-checksum.js';
import { findDamage } from './inspect-image.js';
import type { ImageEntry } from './manifest-format.js';
import { type OwnEntry, ownEntryIn } from './own-entry.js';

/** What an image says about itself. `problem` is set if it is not a usable image of tidemark. */
export type FoundImage =
  | { readonly entry: ImageEntry; readonly exportName: string | undefined }
  | { readonly problem: string };

/**
 * Reads the manifest entry that an image carries, and checks it against the file. If the image is damaged after its
 * first cluster, the entry says so. An image from before images carried entries is measured instead and marked
 * `measured`, because changes since it was taken cannot be detected.
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

/** Reads only the first cluster. @throws Qcow2Error, system errors */
export async function readOwnEntry(path: string): Promise<OwnEntry | 'damaged' | undefined> {
  await using image = await Qcow2Image.open(path);
  return ownEntryIn(image.head);
}

/** Makes an entry from the file alone. @throws Qcow2Error, system errors */
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

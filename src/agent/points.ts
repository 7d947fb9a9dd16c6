import type { FullReason } from '../api/backup.js';
import { AgentError } from './agent-error.js';
import { currentImages, exportNameOf, findBackup, listBackups } from './export-folder.js';
import { needManifest } from './manifest.js';
import { findBroken, idsOnWord } from './manifest-chain.js';
import type { ImageEntry, RecordedDamage } from './manifest-format.js';

/** One restore point as its manifest describes it. Sizes are bytes, times are in ISO 8601. */
interface ListedPoint {
  readonly id: string;
  /** The instant that it shows. */
  readonly takenAt: string;
  readonly mode: ImageEntry['mode'];
  /** Why it was read in full; null for an increment, and if it is not known. */
  readonly fullReason: FullReason | null;
  /** The restore point that it was taken from; null for a full image. */
  readonly base: string | null;
  /** Size of the disk. */
  readonly sizeBytes: number;
  readonly fileBytes: number;
  readonly durationSeconds: number;
  /** False while only the server knows whether its backup is committed; the next pull asks. */
  readonly committed: boolean;
  /** When `verify` last read its own image and found it good; null if it never did. */
  readonly checkedAt: string | null;
  /** What was found wrong with its own image, by whom and when; null if nothing was. */
  readonly damage: RecordedDamage | null;
  /** Why it cannot be restored, as far as the manifest says; null if nothing is known. */
  readonly problem: string | null;
  readonly baseAsserted: boolean;
  readonly proven: boolean;
  readonly measured: boolean;
}

export interface ListedExport {
  readonly export: string;
  readonly folder: string;
  /** Why its manifest cannot be read; null if it can. */
  readonly problem: string | null;
  /** The oldest first. */
  readonly points: readonly ListedPoint[];
}

/**
 * Lists the restore points of all exports in a directory, or of one. Reads the manifests only, and takes no lock: it is
 * fast for any size, and works during a pull. @throws AgentError if there is no backup
 */
export async function listPoints(directory: string, exportName?: string): Promise<ListedExport[]> {
  const folders = exportName === undefined ? await listBackups(directory) : [await findBackup(directory, exportName)];
  const exports: ListedExport[] = [];
  for (const folder of folders) exports.push(await listFolder(folder));
  return exports;
}

async function listFolder(folder: string): Promise<ListedExport> {
  try {
    const manifest = await needManifest(folder);
    const images = await currentImages(folder, manifest);
    const points = describeImages(images, manifest.pending);
    return { export: manifest.export, folder, problem: null, points };
  } catch (error) {
    if (!(error instanceof AgentError)) throw error;
    return { export: exportNameOf(folder), folder, problem: `${error.message} (${error.hint})`, points: [] };
  }
}

function describeImages(images: readonly ImageEntry[], pending: ImageEntry | undefined): ListedPoint[] {
  const all = pending ? [...images, pending] : images;
  const onWord = idsOnWord(all);
  const points = new Map<string, ListedPoint>();
  for (const image of all) {
    const { id, takenAt, mode, base, sizeBytes, fileBytes, durationSeconds, proven = false, measured = false } = image;
    const { damage = null, fullReason = null, checkedAt = null } = image;
    const problem = damage?.problem ?? findBroken(image, points) ?? null;
    const facts = { id, takenAt, mode, fullReason, base, sizeBytes, fileBytes, durationSeconds };
    const trust = { checkedAt, damage, problem, baseAsserted: onWord.has(id), proven, measured };
    points.set(id, { ...facts, committed: image !== pending, ...trust });
  }
  return [...points.values()];
}

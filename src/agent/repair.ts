import { basename, join } from 'node:path';
import { timeStamp } from '../base/timed-id.js';
import { renameDurably } from '../posix/replacement.js';
import { AgentError, isSystemError } from './agent-error.js';
import { findBackup, listBackups, lockFolder } from './export-folder.js';
import { DamagedManifestError, MANIFEST_NAME, readManifest, writeManifest } from './manifest.js';
import { restsOnWord } from './manifest-chain.js';
import type { ImageEntry, Manifest } from './manifest-format.js';
import { type RebuildOptions, type Rebuilt, rebuildManifest } from './rebuild-manifest.js';

export interface RepairOptions extends RebuildOptions {
  /** Undefined for every export in the directory. */
  readonly exportName: string | undefined;
  /** If true, write nothing. */
  readonly dryRun: boolean;
}

type ManifestState = 'good' | 'lost' | 'damaged';

interface RepairedPoint {
  readonly id: string;
  readonly takenAt: string;
  readonly mode: ImageEntry['mode'];
  readonly base: string | null;
  /** Why it is not good; null if no problem is known. */
  readonly problem: string | null;
  readonly baseAsserted: boolean;
  /** Whether the image carries no entry, so that its checksum is from the time of a repair. */
  readonly measured: boolean;
}

export interface RepairedExport {
  readonly export: string;
  readonly folder: string;
  /** State of the manifest before the repair. */
  readonly manifest: ManifestState;
  /** Whether a new manifest was written, or would be without `dryRun`. */
  readonly changed: boolean;
  /** Restore points of the new manifest, the oldest first. */
  readonly points: readonly RepairedPoint[];
  /** An image whose backup may not be committed; null if there is none. */
  readonly pending: string | null;
  /** Files that are not in the manifest, and why. */
  readonly leftOut: readonly { readonly file: string; readonly reason: string }[];
  /** Restore points of the older manifest whose images are missing. */
  readonly gone: readonly string[];
  /** Why the folder was left unchanged; null if it was repaired. */
  readonly problem: string | null;
}

/**
 * Rebuilds lost or damaged manifests in a directory, and completes those that lack images. The source is the entry that
 * each image carries, checked against its content. Images are never changed; a damaged manifest is kept under another
 * name.
 */
export async function repair(directory: string, options: RepairOptions): Promise<RepairedExport[]> {
  const { exportName } = options;
  const folders = exportName === undefined ? await listBackups(directory) : [await findBackup(directory, exportName)];
  const results: RepairedExport[] = [];
  for (const folder of folders) results.push(await repairUnlessBad(folder, options));
  return results;
}

/** A folder that cannot be read or is in use does not stop the others from being repaired. */
async function repairUnlessBad(folder: string, options: RepairOptions): Promise<RepairedExport> {
  try {
    await using _ = options.dryRun ? undefined : await lockFolder(folder);
    return await repairFolder(folder, options);
  } catch (error) {
    if (options.signal.aborted) throw new AgentError('interrupted: not all images were read', 'run it again');
    if (!(error instanceof AgentError) && !isSystemError(error)) throw error;
    const nothing = { changed: false, points: [], pending: null, leftOut: [], gone: [] };
    return { export: basename(folder), folder, manifest: 'damaged', ...nothing, problem: error.message };
  }
}

async function repairFolder(folder: string, options: RepairOptions): Promise<RepairedExport> {
  const { state, older } = await readOlder(folder);
  const rebuilt = await rebuildManifest(folder, older, options);
  const { manifest, isNew } = rebuilt;
  if (isNew && !options.dryRun) {
    if (state === 'damaged') await setAside(folder);
    await writeManifest(folder, manifest);
  }
  return describe(folder, state, rebuilt);
}

async function readOlder(folder: string): Promise<{ state: ManifestState; older: Manifest | undefined }> {
  try {
    const older = await readManifest(folder);
    return { state: older ? 'good' : 'lost', older };
  } catch (error) {
    if (error instanceof DamagedManifestError) return { state: 'damaged', older: undefined };
    throw error;
  }
}

/** Keeps a damaged manifest, because it may still help a person. */
async function setAside(folder: string): Promise<void> {
  const path = join(folder, MANIFEST_NAME);
  await renameDurably(path, `${path}.damaged-${timeStamp(new Date())}`);
}

function describe(folder: string, state: ManifestState, { manifest, isNew, leftOut, gone }: Rebuilt): RepairedExport {
  const { images, pending } = manifest;
  return {
    export: manifest.export,
    folder,
    manifest: state,
    changed: isNew,
    points: images.map((image) => describePoint(image, images)),
    pending: pending?.id ?? null,
    leftOut: [...leftOut].map(([file, reason]) => ({ file, reason })),
    gone,
    problem: null,
  };
}

function describePoint(image: ImageEntry, images: readonly ImageEntry[]): RepairedPoint {
  const { id, takenAt, mode, base, damage, measured = false } = image;
  return {
    id,
    takenAt,
    mode,
    base,
    problem: damage?.problem ?? null,
    baseAsserted: restsOnWord(images, image),
    measured,
  };
}

import { stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { renameDurably } from '../posix/replacement.js';
import { AgentError, isSystemError } from './agent-error.js';
import { folderOf, listBackups, lockFolder } from './export-folder.js';
import { DamagedManifestError, MANIFEST_NAME, readManifest, writeManifest } from './manifest.js';
import { restsOnWord } from './manifest-chain.js';
import type { ImageEntry, Manifest } from './manifest-format.js';
import { type RebuildOptions, type Rebuilt, rebuildManifest } from './rebuild-manifest.js';

export interface RepairOptions extends RebuildOptions {
  /** Undefined: every export of the directory. */
  readonly exportName: string | undefined;
  /** Write nothing. */
  readonly dryRun: boolean;
}

type ManifestState = 'good' | 'lost' | 'damaged';

interface RepairedPoint {
  readonly id: string;
  readonly takenAt: string;
  readonly mode: 'full' | 'incremental';
  readonly base: string | null;
  /** Why it is not good; null when nothing is known against it. */
  readonly problem: string | null;
  readonly baseAsserted: boolean;
  /** Whether the image carries no entry of its own, so that its checksum is that of today. */
  readonly measured: boolean;
}

export interface RepairedExport {
  readonly export: string;
  readonly folder: string;
  /** As it was found. */
  readonly manifest: ManifestState;
  /** Whether there is a new one now, or would be without `dryRun`. */
  readonly changed: boolean;
  /** Restore points of the new manifest, the oldest first. */
  readonly points: readonly RepairedPoint[];
  /** An image that waits to be told whether its backup was committed; null when there is none. */
  readonly pending: string | null;
  /** Files that are not in it, and why. */
  readonly leftOut: readonly { readonly file: string; readonly reason: string }[];
  /** Restore points that were in the older manifest, and whose images are not there. */
  readonly gone: readonly string[];
  /** Why the folder is left as it is; null when it is not. */
  readonly problem: string | null;
}

/**
 * Makes the manifests of a directory anew where they are lost or damaged, and completes those that do not know all
 * images. What images say of themselves is the evidence, checked against their content. Images are never touched; a
 * damaged manifest is kept under another name.
 */
export async function repair(directory: string, options: RepairOptions): Promise<RepairedExport[]> {
  const { exportName } = options;
  const folders = exportName === undefined ? await listBackups(directory) : [await findFolder(directory, exportName)];
  const results: RepairedExport[] = [];
  for (const folder of folders) results.push(await repairUnlessBad(folder, options));
  return results;
}

async function findFolder(directory: string, exportName: string): Promise<string> {
  const folder = folderOf(directory, exportName);
  if ((await stat(folder).catch(() => undefined))?.isDirectory()) return folder;
  throw new AgentError(`${directory} has no backup of "${exportName}"`, `there is no folder ${folder}`);
}

/** A folder that cannot be read, or is in use, keeps nobody from repairing the others. */
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

/** It may still tell a person something. */
async function setAside(folder: string): Promise<void> {
  const path = join(folder, MANIFEST_NAME);
  const stamp = new Date().toISOString().replaceAll(/[-:]/g, '').slice(0, 15);
  await renameDurably(path, `${path}.damaged-${stamp}`);
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

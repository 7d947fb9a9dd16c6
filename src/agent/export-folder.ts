import { readdir, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { FullReason } from '../api/backup.js';
import { isMissing } from '../base/errno.js';
import { folderHint } from '../base/folder-hint.js';
import type { LockFile } from '../posix/lock-file.js';
import { makeFolders, removeEmptyFolders } from '../posix/regular-files.js';
import { removeUnfinished } from '../posix/replacement.js';
import { Qcow2Image } from '../qcow2/image.js';
import { AgentError } from './agent-error.js';
import { MANIFEST_NAME, readManifest, repairHint, writeManifest } from './manifest.js';
import { chainOf } from './manifest-chain.js';
import {
  formatDuring,
  type ImageEntry,
  isId,
  MANIFEST_FORMAT,
  type Manifest,
  type Merge,
  type RecordedDamage,
} from './manifest-format.js';
import { takeLock } from './take-lock.js';

const SUFFIX = '.qcow2';
/** Lock file that protects the folder while it is changed. */
const LOCK_NAME = '.lock';
/** Temporary name of an image that is being written; it contains the image's ID. */
const PARTIAL = /^\.(.+)\.(partial|merging)$/;

/** The folder for the backups of an export. Characters with a meaning in a path are escaped, so any name works. */
export function folderOf(directory: string, exportName: string): string {
  const escaped = exportName.replace(/[%/\0]/g, encodeURIComponent);
  const isSpecial = escaped === '' || escaped.startsWith('.');
  return join(directory, isSpecial ? `%${escaped}` : escaped);
}

/** The inverse of `folderOf`: the name of the export that a folder belongs to. */
export function exportNameOf(folder: string): string {
  const name = basename(folder);
  const isSpecial = name === '%' || name.startsWith('%.');
  try {
    return decodeURIComponent(isSpecial ? name.slice(1) : name);
  } catch {
    return name;
  }
}

/** Folder at the root of some file systems, usually readable only by root. */
const LOST_AND_FOUND = 'lost+found';

/** The folders in a directory that hold a manifest or images, at least one. @throws AgentError */
export async function listBackups(directory: string): Promise<string[]> {
  const names = (await list(directory, 'give the directory that tidemark pull wrote to')).sort();
  const isOurs = (name: string) => name === MANIFEST_NAME || name.endsWith(SUFFIX);
  const folders: string[] = [];
  for (const name of names) {
    const folder = join(directory, name);
    const isFolder = name !== LOST_AND_FOUND && (await stat(folder).catch(() => undefined))?.isDirectory();
    if (isFolder && (await list(folder, 'fix its permissions, or move it away')).some(isOurs)) folders.push(folder);
  }
  if (folders.length > 0) return folders;
  throw new AgentError(`${directory} has no backups`, 'give the directory that tidemark pull wrote to');
}

/** The folder with the backups of an export. @throws AgentError */
export async function findBackup(directory: string, exportName: string): Promise<string> {
  const folder = folderOf(directory, exportName);
  if ((await stat(folder).catch(() => undefined))?.isDirectory()) return folder;
  throw new AgentError(`${directory} has no backup of "${exportName}"`, `there is no folder ${folder}`);
}

/** Whether a folder has images. False if the folder is missing. */
export async function hasImages(folder: string): Promise<boolean> {
  const names = await readdir(folder).catch(() => []);
  return names.some((name) => name.endsWith(SUFFIX));
}

function list(folder: string, hint: string): Promise<string[]> {
  return readdir(folder).catch((error: NodeJS.ErrnoException) => {
    const what = isMissing(error) ? `there is no folder ${folder}` : `${folder} cannot be read: ${error.code}`;
    throw new AgentError(what, hint, { cause: error });
  });
}

/** ID of an image that is unfinished or not committed yet; undefined if the name is not that of such an image. */
export function idOfPartial(name: string): string | undefined {
  const match = PARTIAL.exec(name);
  return match?.[2] === 'partial' && isId(match[1]) ? match[1] : undefined;
}

/** The path of an image. */
export function imagePath(folder: string, id: string): string {
  return join(folder, imageName(id));
}

/** The file name of an image. Images above it refer to it by this name. */
export function imageName(id: string): string {
  return `${id}${SUFFIX}`;
}

/** ID of the image with this file name; undefined if the name is not that of a restore point. */
export function idOfImage(name: string): string | undefined {
  const id = name.endsWith(SUFFIX) ? name.slice(0, -SUFFIX.length) : '';
  return isId(id) ? id : undefined;
}

/**
 * The current images, even if a merge was interrupted: after its rename the merged image counts, before it the old
 * ones.
 */
export async function currentImages(folder: string, { images, merging }: Manifest): Promise<readonly ImageEntry[]> {
  if (!merging || !(await isMerged(folder, merging))) return images;
  return images
    .filter(({ id }) => !merging.drops.includes(id))
    .map((image) => (image.id === merging.image.id ? merging.image : image));
}

/** Whether the merged image is in place. The old one lies on an image that is to be dropped, so never on the same. */
async function isMerged(folder: string, { image: { id, base } }: Merge): Promise<boolean> {
  try {
    await using image = await Qcow2Image.open(imagePath(folder, id));
    return image.backingName === (base === null ? undefined : imageName(base));
  } catch {
    return false;
  }
}

/** Changes to a manifest. A pending image or a merge that is not given is removed. */
interface ManifestState {
  readonly images?: readonly ImageEntry[];
  readonly pending?: ImageEntry | undefined;
  readonly merging?: Merge | undefined;
}

/** Keeps others from changing the folder until the lock is released. @throws InUseError, AgentError */
export function lockFolder(path: string): Promise<LockFile> {
  return takeLock(join(path, LOCK_NAME), { path, verb: 'write to' });
}

/** An export's folder, locked against changes by others. */
export class ExportFolder implements AsyncDisposable {
  private constructor(
    readonly exportName: string,
    readonly path: string,
    public manifest: Manifest,
    private readonly release: () => Promise<void>,
  ) {}

  /** Creates the folder if it is missing. @throws AgentError */
  static async open(path: string, exportName: string): Promise<ExportFolder> {
    const made = await makeFolders(path).catch((error: NodeJS.ErrnoException) => {
      throw cannotMake(path, error);
    });
    const lock = await lockFolder(path).catch(async (error) => {
      await removeEmptyFolders(made);
      throw error;
    });
    const release = async () => {
      await lock[Symbol.asyncDispose]();
      await removeEmptyFolders(made.length > 0 ? made : [path]);
    };
    try {
      await removeUnfinished(join(path, MANIFEST_NAME));
      const manifest = (await readManifest(path)) ?? (await newManifest(path, exportName));
      const folder = new ExportFolder(exportName, path, manifest, release);
      await folder.settleMerge();
      return folder;
    } catch (error) {
      await release();
      throw error;
    }
  }

  get newest(): ImageEntry | undefined {
    return this.manifest.images.at(-1);
  }

  imagePath(id: string): string {
    return imagePath(this.path, id);
  }

  /** The path of an image until it is a restore point. */
  partialPath(id: string, kind: 'partial' | 'merging' = 'partial'): string {
    return join(this.path, `.${id}.${kind}`);
  }

  async save({ images = this.manifest.images, pending, merging }: ManifestState): Promise<void> {
    const { export: exportName } = this.manifest;
    const state = { ...(pending && { pending }), ...(merging && { merging }) };
    const manifest: Manifest = { format: formatDuring(merging), export: exportName, images, ...state };
    await writeManifest(this.path, manifest);
    this.manifest = manifest;
  }

  /** IDs of images that were started but never became restore points. */
  async unfinishedIds(): Promise<string[]> {
    const names = (await readdir(this.path)).map((name) => PARTIAL.exec(name));
    return names.filter((match) => match?.[2] === 'partial').map((match) => match![1]!);
  }

  /**
   * Says why no image can be added on top of the newest one: a file of its chain is missing, has the wrong size, or is
   * recorded as damaged. Reads no data.
   */
  async findBrokenLink(): Promise<FullReason | undefined> {
    if (!this.newest) return undefined;
    const { chain, missing } = chainOf(this.manifest.images, this.newest);
    for (const image of chain) {
      const path = this.imagePath(image.id);
      if (image.damage) return { code: 'chain-damaged', detail: `${path}: ${sayDamage(image.damage)}` };
      if (image.measured) {
        return { code: 'chain-measured', detail: `${path} has no checksum from the day on which it was taken` };
      }
      const detail = await findShortfall(path, image);
      if (detail !== undefined) return { code: 'chain-broken', detail };
    }
    if (missing === undefined) return undefined;
    return { code: 'chain-broken', detail: `${this.imagePath(chain.at(-1)!.id)} has no image below it` };
  }

  /** Completes an interrupted merge, or undoes it. */
  async settleMerge(): Promise<void> {
    const { merging, pending } = this.manifest;
    if (merging) {
      const images = await currentImages(this.path, this.manifest);
      const isDone = images.includes(merging.image);
      if (isDone) for (const id of merging.drops) await rm(this.imagePath(id), { force: true });
      await this.save({ images, pending });
    }
    const names = (await readdir(this.path)).filter((name) => PARTIAL.exec(name)?.[2] === 'merging');
    for (const name of names) await rm(join(this.path, name), { force: true });
  }

  /** Releases the lock. Removes the folder if it is empty, and the empty parents that were created for it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }
}

function cannotMake(path: string, error: NodeJS.ErrnoException): AgentError {
  const isReadOnly = error.code === 'EROFS';
  const why = isReadOnly ? 'its file system is read-only' : error.code;
  const hint = isReadOnly ? 'mount it for writing, or choose another directory' : folderHint(error, '--to');
  return new AgentError(`${path} cannot be made: ${why}`, hint, { cause: error });
}

/** Says whether a file is missing or has the wrong size. */
async function findShortfall(path: string, { fileBytes }: ImageEntry): Promise<string | undefined> {
  const found = await stat(path).catch(() => undefined);
  if (!found) return `${path} is missing`;
  return found.size === fileBytes ? undefined : `${path} has ${found.size} bytes instead of ${fileBytes}`;
}

/** `the file is missing (found by tidemark verify, 2026-11-24T00:49:14.102Z)` */
function sayDamage({ problem, foundBy, foundAt }: RecordedDamage): string {
  const finder = foundBy === 'verify' ? 'tidemark verify' : 'tidemark pull --prove';
  return `${problem} (found by ${finder}, ${foundAt})`;
}

async function newManifest(folder: string, exportName: string): Promise<Manifest> {
  const images = (await readdir(folder)).filter((name) => name.endsWith(SUFFIX));
  if (images.length > 0) {
    throw new AgentError(`${folder} has images (${images[0]}) and no manifest`, repairHint(folder));
  }
  return { format: MANIFEST_FORMAT, export: exportName, images: [] };
}

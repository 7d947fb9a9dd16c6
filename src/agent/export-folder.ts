import { readdir, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { folderHint } from '../base/folder-hint.js';
import type { LockFile } from '../posix/lock-file.js';
import { makeFolders, removeEmptyFolders } from '../posix/regular-files.js';
import { removeUnfinished } from '../posix/replacement.js';
import { Qcow2Image } from '../qcow2/image.js';
import { AgentError } from './agent-error.js';
import { MANIFEST_NAME, readManifest, repairHint, writeManifest } from './manifest.js';
import { chainOf } from './manifest-chain.js';
import type { FullReason } from './manifest-format.js';
import {
  type ImageEntry,
  isId,
  MANIFEST_FORMAT,
  type Manifest,
  type Merge,
  type RecordedDamage,
} from './manifest-format.js';
import { takeLock } from './take-lock.js';

const SUFFIX = '.qcow2';
/** What is locked while somebody changes the folder. */
const LOCK_NAME = '.lock';
/** Around the id of an image that is being written. */
const PARTIAL = /^\.(.+)\.(partial|merging)$/;

/** Where the backups of one export lie. Any name is the name of one folder: what a path would read otherwise is escaped. */
export function folderOf(directory: string, exportName: string): string {
  const escaped = exportName.replace(/[%/\0]/g, encodeURIComponent);
  const isSpecial = escaped === '' || escaped.startsWith('.');
  return join(directory, isSpecial ? `%${escaped}` : escaped);
}

/** The name of the export whose folder that would be. */
export function exportNameOf(folder: string): string {
  const name = basename(folder);
  const isSpecial = name === '%' || name.startsWith('%.');
  try {
    return decodeURIComponent(isSpecial ? name.slice(1) : name);
  } catch {
    return name;
  }
}

/** What a file system keeps for itself at its root, and mostly for root. */
const LOST_AND_FOUND = 'lost+found';

/** The folders of a directory that hold backups: a manifest, or images that lack one. At least one. @throws AgentError */
export async function listBackups(directory: string): Promise<string[]> {
  const names = (await list(directory, 'give the directory that tidemark pull wrote to')).sort();
  const isOurs = (name: string) => name === MANIFEST_NAME || name.endsWith(SUFFIX);
  const folders: string[] = [];
  for (const name of names) {
    const folder = join(directory, name);
    const isFolder = name !== LOST_AND_FOUND && (await stat(folder).catch(() => undefined))?.isDirectory();
    if (isFolder && (await list(folder, 'mend its rights, or move it away')).some(isOurs)) folders.push(folder);
  }
  if (folders.length > 0) return folders;
  throw new AgentError(`${directory} has no backups`, 'give the directory that tidemark pull wrote to');
}

/** Whether a folder that may not be there has images. */
export async function hasImages(folder: string): Promise<boolean> {
  const names = await readdir(folder).catch(() => []);
  return names.some((name) => name.endsWith(SUFFIX));
}

function list(folder: string, hint: string): Promise<string[]> {
  return readdir(folder).catch((error: NodeJS.ErrnoException) => {
    const what = error.code === 'ENOENT' ? `there is no folder ${folder}` : `${folder} cannot be read: ${error.code}`;
    throw new AgentError(what, hint, { cause: error });
  });
}

/** Of an image that is being written, or waits to be told whether it counts; undefined when the file is none. */
export function idOfPartial(name: string): string | undefined {
  const match = PARTIAL.exec(name);
  return match?.[2] === 'partial' && isId(match[1]) ? match[1] : undefined;
}

/** The file of an image. */
export function imagePath(folder: string, id: string): string {
  return join(folder, imageName(id));
}

/** Its name, by which images above it refer to it. */
export function imageName(id: string): string {
  return `${id}${SUFFIX}`;
}

/** The image that has such a file; undefined when it is none of a restore point. */
export function idOfImage(name: string): string | undefined {
  const id = name.endsWith(SUFFIX) ? name.slice(0, -SUFFIX.length) : '';
  return isId(id) ? id : undefined;
}

/** The images there are, when a merge may have been interrupted: the one that its rename left is what counts. */
export async function currentImages(folder: string, manifest: Manifest): Promise<readonly ImageEntry[]> {
  const { images, merging } = manifest;
  if (!merging || !(await standsAlone(imagePath(folder, merging.image.id)))) return images;
  return images
    .filter(({ id }) => !merging.drops.includes(id))
    .map((image) => (image.id === merging.image.id ? merging.image : image));
}

async function standsAlone(path: string): Promise<boolean> {
  try {
    await using image = await Qcow2Image.open(path);
    return image.backingName === undefined;
  } catch {
    return false;
  }
}

/** What of a manifest changes. A pending image and a merge are over unless they are given. */
interface ManifestState {
  readonly images?: readonly ImageEntry[];
  readonly pending?: ImageEntry | undefined;
  readonly merging?: Merge | undefined;
}

/** Nobody else changes the folder until that is released. @throws InUseError, AgentError */
export function lockFolder(path: string): Promise<LockFile> {
  return takeLock(join(path, LOCK_NAME), { path, verb: 'write to' });
}

/** An export's folder that nobody else changes meanwhile. */
export class ExportFolder implements AsyncDisposable {
  private constructor(
    readonly exportName: string,
    readonly path: string,
    public manifest: Manifest,
    private readonly release: () => Promise<void>,
  ) {}

  /** Makes the folder when it is not there. @throws AgentError */
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

  /** Where an image is written until it counts. */
  partialPath(id: string, kind: 'partial' | 'merging' = 'partial'): string {
    return join(this.path, `.${id}.${kind}`);
  }

  async save({ images = this.manifest.images, pending, merging }: ManifestState): Promise<void> {
    const { format, export: exportName } = this.manifest;
    const state = { ...(pending && { pending }), ...(merging && { merging }) };
    const manifest: Manifest = { format, export: exportName, images, ...state };
    await writeManifest(this.path, manifest);
    this.manifest = manifest;
  }

  /** Ids of images that were begun and never came to count. */
  async unfinishedIds(): Promise<string[]> {
    const names = (await readdir(this.path)).map((name) => PARTIAL.exec(name));
    return names.filter((match) => match?.[2] === 'partial').map((match) => match![1]!);
  }

  /**
   * Why the newest image cannot carry another: a file of its chain is missing or cut off, or was found to be damaged.
   * Reads no data.
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

  /** Brings a merge that was interrupted to its end, or takes it back. */
  async settleMerge(): Promise<void> {
    const { merging, pending } = this.manifest;
    if (merging) {
      const images = await currentImages(this.path, this.manifest);
      const isDone = images.some(({ id, base }) => id === merging.image.id && base === null);
      if (isDone) for (const id of merging.drops) await rm(this.imagePath(id), { force: true });
      await this.save({ images, pending });
    }
    const names = (await readdir(this.path)).filter((name) => PARTIAL.exec(name)?.[2] === 'merging');
    for (const name of names) await rm(join(this.path, name), { force: true });
  }

  /** A folder that nothing came into goes again, and so do those above it that were made for it. */
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

/** Whether a file is missing, or has another size than it should. */
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

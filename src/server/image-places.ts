import { readlinkSync } from 'node:fs';
import { type FileHandle, lstat, readdir, realpath } from 'node:fs/promises';
import { constants } from 'node:os';
import { basename, dirname, join, relative, resolve, sep } from 'node:path';
import { CodedError } from '../base/coded-error.js';
import { diskId } from '../base/disk-id.js';
import { errnoOf } from '../base/errno.js';
import { nodePosix } from '../posix/node-posix.js';
import { loadPosix } from '../posix/posix.js';
import { footprintOf } from '../storage/image/disk-footprint.js';
import type { ImageGuard } from '../storage/image/image-guard.js';
import type { ServerConfig } from './config.js';

const { ENOENT } = constants.errno;

/** Who chose an image: the operator, in the configuration, or somebody who sent a command. */
export type ExportSource = 'operator' | 'api';

type Places = Pick<ServerConfig, 'stateDirectory' | 'scratchDirectory' | 'imageRoots'>;

/**
 * Decides where images may be. No image may be part of the server's own data. If there is an `--image-root`, the control API
 * can only add images below it. The decision uses the kernel's path of the open file, so that symbolic links and renamed
 * folders cannot evade it.
 */
export class ImagePlaces {
  private constructor(
    private readonly state: string,
    private readonly scratch: string,
    /** Each root as it was given, and its real path. Empty: images may be anywhere. */
    private readonly roots: readonly { readonly given: string; readonly real: string }[],
  ) {}

  /** @throws CodedError CONFIG_INVALID when a root does not exist */
  static async open({ stateDirectory, scratchDirectory, imageRoots }: Places): Promise<ImagePlaces> {
    const [state, scratch] = [await realPathOf(resolve(stateDirectory)), await realPathOf(resolve(scratchDirectory))];
    const roots = imageRoots.map(async (root) => ({ given: resolve(root), real: await realRoot(root) }));
    return new ImagePlaces(state, scratch, await Promise.all(roots));
  }

  /** A guard for the image at the absolute `path`. The roots do not restrict images that the operator configures. */
  guard(path: string, source: ExportSource, ownFiles = this.ownFiles()): ImageGuard {
    const roots = source === 'operator' ? [] : this.roots;
    const admit = (inRoots: boolean) => {
      if (roots.length > 0 && !inRoots) throw outside(path, this.roots);
    };
    const admitReal = async (realPath: string, ids: readonly string[]) => {
      admit(roots.some(({ real }) => isInside(realPath, real)));
      const isBelow = isInside(realPath, this.state) || isInside(realPath, this.scratch);
      const own = await ownFiles();
      if (isBelow || ids.some((id) => own.has(id))) throw ownData(path);
    };
    return {
      admitPath: () => admit(roots.some(({ given, real }) => isInside(path, given) || isInside(path, real))),
      admitFolder: async (folder) => admitReal(join(pathOf(folder), basename(path)), [await idOf(folder)]),
      admitFile: async (file) => admitReal(pathOf(file), await reachedBy(file)),
    };
  }

  /** Finds the server's own files when it is first called. */
  ownFiles(): () => Promise<ReadonlySet<string>> {
    let ids: Promise<ReadonlySet<string>> | undefined;
    return () => {
      ids ??= this.ownIds();
      return ids;
    };
  }

  /** The ids of all the server's own files, which may have other names through hard links or a second mount. */
  private async ownIds(): Promise<Set<string>> {
    const below = await readdir(this.state, { recursive: true }).catch(() => []);
    const paths = [this.state, this.scratch, ...below.map((name) => join(this.state, name))];
    const ids = paths.map((path) => lstat(path, { bigint: true }).then(diskId, () => ''));
    return new Set(await Promise.all(ids));
  }
}

/** The kernel has the path of an open file in memory, so this never waits for a disk. */
const pathOf = (file: FileHandle) => readlinkSync(`/proc/self/fd/${file.fd}`);
const idOf = async (file: FileHandle) => diskId(await file.stat({ bigint: true }));

/** The ids of the file itself and, for a loop device or a partition, of the file or disk behind it. */
async function reachedBy(file: FileHandle): Promise<readonly string[]> {
  const footprint = await footprintOf(`/proc/self/fd/${file.fd}`, loadPosix() ?? nodePosix);
  return footprint ? [...footprint.same, ...footprint.within] : [await idOf(file)];
}

function isInside(path: string, folder: string): boolean {
  const way = relative(folder, path);
  return way !== '..' && !way.startsWith(`..${sep}`);
}

/** @throws CodedError CONFIG_INVALID */
async function realRoot(root: string): Promise<string> {
  try {
    return await realpath(root);
  } catch (cause) {
    const message = `the image root ${root} cannot be used: ${(cause as Error).message}`;
    throw new CodedError('CONFIG_INVALID', message, 'create the folder first, or correct --image-root', { cause });
  }
}

/** Also works for a folder that does not exist yet. */
async function realPathOf(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    if (errnoOf(error) !== ENOENT || dirname(path) === path) throw error;
    return join(await realPathOf(dirname(path)), basename(path));
  }
}

function outside(path: string, roots: readonly { readonly given: string }[]): CodedError {
  const allowed = roots.map(({ given }) => given).join(', ');
  return new CodedError(
    'IMAGE_NOT_ALLOWED',
    `the image ${path} is outside the image roots of this server`,
    `choose an image below ${allowed}, or restart the server with another --image-root`,
  );
}

function ownData(path: string): CodedError {
  return new CodedError(
    'IMAGE_NOT_ALLOWED',
    `the image ${path} is in the state or scratch directory of the server, or shares data with a file there`,
    'keep disks in another folder',
  );
}

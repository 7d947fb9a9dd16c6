import { type FileHandle, lstat, readdir, readlink, realpath } from 'node:fs/promises';
import { constants } from 'node:os';
import { basename, dirname, join, relative, resolve, sep } from 'node:path';
import { CodedError } from '../base/coded-error.js';
import { diskId } from '../base/disk-location.js';
import { errnoOf } from '../base/errno.js';
import type { ExportSource } from '../export/registry.js';
import { nodePosix } from '../posix/node-posix.js';
import { loadPosix } from '../posix/posix.js';
import { footprintOf } from '../storage/image/disk-footprint.js';
import type { ImageGuard } from '../storage/image/image-guard.js';
import type { ServerConfig } from './config.js';

const { ENOENT } = constants.errno;

type Places = Pick<ServerConfig, 'stateDirectory' | 'scratchDirectory' | 'imageRoots'>;

/**
 * Where images may lie: never among the server's own data, and those that the control API asks for only below `--image-root`, if
 * there is one. What counts is where an open file is, as the kernel says, so symbolic links and renamed folders change nothing.
 */
export class ImagePlaces {
  private constructor(
    private readonly state: string,
    private readonly scratch: string,
    /** Each as it was given and as it is, or none for anywhere. */
    private readonly roots: readonly { readonly given: string; readonly real: string }[],
  ) {}

  /** @throws CodedError CONFIG_INVALID when a root does not exist */
  static async open({ stateDirectory, scratchDirectory, imageRoots }: Places): Promise<ImagePlaces> {
    const [state, scratch] = [await realPathOf(resolve(stateDirectory)), await realPathOf(resolve(scratchDirectory))];
    const roots = imageRoots.map(async (root) => ({ given: resolve(root), real: await realRoot(root) }));
    return new ImagePlaces(state, scratch, await Promise.all(roots));
  }

  /** For the image at `path`, which is absolute. What the operator configures may lie below any root, or none. */
  guard(path: string, source: ExportSource): ImageGuard {
    const roots = source === 'operator' ? [] : this.roots;
    const admit = (inRoots: boolean) => {
      if (roots.length > 0 && !inRoots) throw outside(path, this.roots);
    };
    const admitReal = async (realPath: string, ids: readonly string[]) => {
      admit(roots.some(({ real }) => isInside(realPath, real)));
      const isBelow = isInside(realPath, this.state) || isInside(realPath, this.scratch);
      const own = await this.ownIds();
      if (isBelow || ids.some((id) => own.has(id))) throw ownData(path);
    };
    return {
      admitPath: () => admit(roots.some(({ given, real }) => isInside(path, given) || isInside(path, real))),
      admitFolder: async (folder) => admitReal(join(await pathOf(folder), basename(path)), [await idOf(folder)]),
      admitFile: async (file) => admitReal(await pathOf(file), await reachedBy(file)),
    };
  }

  /** Of all that the server keeps, which may have other names too: by hard links, or where it is mounted a second time. */
  private async ownIds(): Promise<Set<string>> {
    const below = await readdir(this.state, { recursive: true }).catch(() => []);
    const paths = [this.state, this.scratch, ...below.map((name) => join(this.state, name))];
    const ids = paths.map((path) => lstat(path, { bigint: true }).then(diskId, () => ''));
    return new Set(await Promise.all(ids));
  }
}

const pathOf = (file: FileHandle) => readlink(`/proc/self/fd/${file.fd}`);
const idOf = async (file: FileHandle) => diskId(await file.stat({ bigint: true }));

/** The file itself, and what a loop device shows, or the device that it is a part of. */
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
    throw new CodedError('CONFIG_INVALID', message, 'make the folder first, or correct --image-root', { cause });
  }
}

/** Also of a folder that is still to be made. */
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
    `the image ${path} is not below a folder that this server takes images from`,
    `name one below ${allowed}, or have the server started with another --image-root`,
  );
}

function ownData(path: string): CodedError {
  return new CodedError(
    'IMAGE_NOT_ALLOWED',
    `the image ${path} is in the state or scratch directory of the server, or is part of what it keeps there`,
    'keep disks in another folder',
  );
}

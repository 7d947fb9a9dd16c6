import { constants, existsSync } from 'node:fs';
import { type FileHandle, lstat, open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError } from '../base/coded-error.js';
import { folderHint } from '../base/folder-hint.js';
import type { Log } from '../base/log.js';
import { makeFolders } from '../posix/regular-files.js';

const OWNER_ONLY = 0o700;
const OTHERS = 0o077;
const WRITABLE_BY_ALL = 0o002;

/**
 * Makes the state directory if need be, for its owner alone. One that others can use, and that is ours, is taken from
 * them: bitmaps tell what was written, and whoever can write there can replace the server's socket. @throws CodedError STORE_UNUSABLE
 */
export async function makePrivateDirectory(path: string, log: Log): Promise<void> {
  try {
    await makeFolders(path, OWNER_ONLY);
    await using folder = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
    await takeFromOthers(path, folder, log);
  } catch (cause) {
    if (cause instanceof CodedError) throw cause;
    throw new CodedError(
      'STORE_UNUSABLE',
      `the state directory ${path} cannot be used: ${(cause as Error).message}`,
      folderHint(cause as NodeJS.ErrnoException, '--state'),
      { cause },
    );
  }
}

async function takeFromOthers(path: string, folder: FileHandle, log: Log): Promise<void> {
  const { mode, uid } = await folder.stat();
  const isOurs = isOwn(uid);
  if (isOurs && (mode & OTHERS) === 0) return;
  const was = `0${(mode & 0o777).toString(8)}`;
  // Never a folder such as /srv, which others need.
  if (!isOurs || !(await isForState(path))) {
    throw new CodedError(
      'STORE_UNUSABLE',
      `the state directory ${path} can be used by others (mode ${was}, user id ${uid})`,
      "choose a directory of its own with --state DIR, or give it to the server's user and chmod 0700",
    );
  }
  await folder.chmod(OWNER_ONLY);
  await refusePlanted(path);
  log.warn({ state: path, was }, 'others could use the state directory; now it is for its owner alone');
}

/**
 * What others have put there while they could: a link leads the server to other files, and who has a file open that is theirs
 * writes to it still. @throws CodedError STORE_UNUSABLE
 */
async function refusePlanted(path: string): Promise<void> {
  for (const name of await readdir(path, { recursive: true })) {
    const found = join(path, name);
    const stats = await lstat(found);
    const isAlone = stats.isDirectory() || stats.nlink === 1;
    // Of a socket the mode says who may connect; a link has all rights, so it is none of these.
    const isClosed = stats.isSocket() || (stats.mode & WRITABLE_BY_ALL) === 0;
    if (isOwn(stats.uid) && isAlone && isClosed) continue;
    throw new CodedError(
      'STORE_UNUSABLE',
      `others could use the state directory ${path}, and may have put ${found} there`,
      'remove it, or choose another directory with --state DIR',
    );
  }
}

function isOwn(uid: number): boolean {
  return uid === process.geteuid?.();
}

/** It is empty, or a server has kept its store there. */
async function isForState(path: string): Promise<boolean> {
  const names = await readdir(path);
  return names.length === 0 || existsSync(join(path, 'store', 'data.mdb'));
}

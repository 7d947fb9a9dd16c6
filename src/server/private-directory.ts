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
 * Creates the state directory if necessary, and makes sure that only its owner can use it. Others could learn from bitmaps
 * what was written, and a writer could replace the server's socket. If others can use the directory, but it is ours, their
 * access is removed. @throws CodedError STORE_UNUSABLE
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
  // Never change a folder such as /srv, which others need.
  if (!isOurs || !(await isForState(path))) {
    throw new CodedError(
      'STORE_UNUSABLE',
      `other users can access the state directory ${path} (mode ${was}, user id ${uid})`,
      "choose a separate directory with --state DIR, or run chown to the server's user and chmod 0700",
    );
  }
  await folder.chmod(OWNER_ONLY);
  await refusePlanted(path);
  log.warn({ state: path, was }, 'other users had access to the state directory; it was removed');
}

/**
 * Refuses a directory with files that others may have put there while they had access: a link leads the server to other
 * files, and the owner of a file can keep it open and write to it. @throws CodedError STORE_UNUSABLE
 */
async function refusePlanted(path: string): Promise<void> {
  for (const name of await readdir(path, { recursive: true })) {
    const found = join(path, name);
    const stats = await lstat(found);
    const isAlone = stats.isDirectory() || stats.nlink === 1;
    // The mode of a socket says who may connect. The mode of a link allows everything, so a link is always refused.
    const isClosed = stats.isSocket() || (stats.mode & WRITABLE_BY_ALL) === 0;
    if (isOwn(stats.uid) && isAlone && isClosed) continue;
    throw new CodedError(
      'STORE_UNUSABLE',
      `other users had access to the state directory ${path}, and may have put ${found} there`,
      'remove it, or choose another directory with --state DIR',
    );
  }
}

function isOwn(uid: number): boolean {
  return uid === process.geteuid?.();
}

/** Whether the directory is empty, or already holds the store of a server. */
async function isForState(path: string): Promise<boolean> {
  const names = await readdir(path);
  return names.length === 0 || existsSync(join(path, 'store', 'data.mdb'));
}

import { constants } from 'node:fs';
import { chmod, chown, lstat, open, stat, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { CodedError } from '../base/coded-error.js';
import { isMissing } from '../base/errno.js';
import { readAccounts } from './accounts.js';

/** The longest path of a unix socket (sun_path in unix(7) without the final NUL). A longer one would be truncated. */
const MAX_PATH_BYTES = 107;

/**
 * Prepares a path for a new unix socket. Removes a socket that a killed server left behind. @throws CodedError
 * ADDRESS_UNUSABLE when the path is not a socket, or another server listens on it
 */
export async function clearSocketPath(path: string): Promise<void> {
  await checkSocketPath(path);
  const stats = await lstat(path).catch(() => undefined);
  if (!stats) return;
  if (!stats.isSocket()) {
    throw new CodedError('ADDRESS_UNUSABLE', `${path} exists and is not a socket`, 'choose another path');
  }
  if (await mayBeAnswered(path)) {
    throw new CodedError('ADDRESS_UNUSABLE', `another server listens on ${path}`, 'stop it, or choose another path');
  }
  await unlink(path).catch((error: NodeJS.ErrnoException) => {
    const what = `cannot remove the socket ${path}, which another server left behind: ${error.code}`;
    throw new CodedError('ADDRESS_UNUSABLE', what, 'remove it, or choose another path', { cause: error });
  });
}

/**
 * Refuses a path at which no socket can be created. For a missing folder libuv would report a lack of permission. @throws
 * CodedError ADDRESS_UNUSABLE
 */
export async function checkSocketPath(path: string): Promise<void> {
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) {
    const hint = `choose a path of at most ${MAX_PATH_BYTES} bytes`;
    throw new CodedError('ADDRESS_UNUSABLE', `${path} is too long for a unix socket`, hint);
  }
  const folder = dirname(path);
  const stats = await stat(folder).catch((error: NodeJS.ErrnoException) => {
    if (isMissing(error)) return undefined;
    throw listenError(path, error);
  });
  if (stats?.isDirectory()) return;
  const what = stats ? `${folder} is not a folder` : `there is no folder ${folder}`;
  const hint = stats ? 'choose another path' : 'make it first, or choose another path';
  throw new CodedError('ADDRESS_UNUSABLE', `cannot listen on ${path}: ${what}`, hint);
}

/** Only a refused connection shows that nobody listens. Other errors may mean missing permission or a full queue. */
function mayBeAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code !== 'ECONNREFUSED'));
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
  });
}

/** Who may connect to a unix socket, besides the user that the server runs as. */
export interface SocketAccess {
  readonly mode: number;
  /** Name or number. Undefined: keep the group. */
  readonly group: string | undefined;
}

/** Opens a descriptor that only refers to a path. Node has no constant for this flag. */
const O_PATH = 0o10000000;

/**
 * Lets others use a unix socket that only its owner can use so far. Works on a descriptor, so that the group and mode
 * cannot be given to another file at the same path. @throws CodedError ADDRESS_UNUSABLE
 */
export async function openToOthers(path: string, { mode, group }: SocketAccess): Promise<void> {
  const gid = group === undefined ? undefined : await groupId(group);
  try {
    await using socket = await open(path, O_PATH | constants.O_NOFOLLOW);
    const stats = await socket.stat();
    if (!stats.isSocket()) throw new Error('something else is in its place');
    const ownPath = `/proc/self/fd/${socket.fd}`;
    if (gid !== undefined) await chown(ownPath, stats.uid, gid);
    await chmod(ownPath, mode);
  } catch (error) {
    throw new CodedError(
      'ADDRESS_UNUSABLE',
      `cannot let others use the socket ${path}: ${(error as Error).message}`,
      'choose a group to which the user of the server belongs, or another path',
      { cause: error },
    );
  }
}

/** @throws CodedError ADDRESS_UNUSABLE */
async function groupId(group: string): Promise<number> {
  if (/^\d+$/.test(group)) return Number(group);
  const gid = (await readAccounts()).gidOf(group);
  if (gid !== undefined) return gid;
  throw new CodedError('ADDRESS_UNUSABLE', `there is no group "${group}" in /etc/group`, 'use the number of the group');
}

/** Turns the failure to listen on an address into a refusal. */
export function refuseAddress(address: string): (error: NodeJS.ErrnoException) => never {
  return (error) => {
    throw listenError(address, error);
  };
}

function listenError(address: string, error: NodeJS.ErrnoException): CodedError {
  const hints: Record<string, string> = {
    EADDRINUSE: 'another server listens there: stop it, or choose another address',
    EACCES: 'permission denied: choose another address, or run as another user',
    EADDRNOTAVAIL: 'this machine has no such address',
    ENOTFOUND: 'the host name cannot be resolved',
    ENOENT: 'create the folder first',
    ENOTDIR: 'choose another path',
  };
  const hint = hints[error.code ?? ''] ?? 'choose another address';
  return new CodedError('ADDRESS_UNUSABLE', `cannot listen on ${address}: ${error.code ?? error.message}`, hint, {
    cause: error,
  });
}

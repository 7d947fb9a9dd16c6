import { constants } from 'node:fs';
import { chmod, chown, lstat, open, readFile, stat, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { CodedError } from '../base/coded-error.js';

/** Of an address of a unix socket (sun_path in unix(7), with its last NUL); what is longer would be cut off. */
const MAX_PATH_BYTES = 107;

/**
 * Makes way for a unix socket: one that a server left behind when it was killed is removed. @throws CodedError
 * ADDRESS_UNUSABLE when something else is there, or somebody listens
 */
export async function clearSocketPath(path: string): Promise<void> {
  await checkSocketPath(path);
  const stats = await lstat(path).catch(() => undefined);
  if (!stats) return;
  if (!stats.isSocket()) {
    throw new CodedError('ADDRESS_UNUSABLE', `${path} is there already and is no socket`, 'choose another path');
  }
  if (await mayBeAnswered(path)) {
    throw new CodedError('ADDRESS_UNUSABLE', `another server listens on ${path}`, 'stop it, or choose another path');
  }
  await unlink(path).catch((error: NodeJS.ErrnoException) => {
    const what = `the socket ${path} of a server that is gone cannot be removed: ${error.code}`;
    throw new CodedError('ADDRESS_UNUSABLE', what, 'remove it, or choose another path', { cause: error });
  });
}

/**
 * Refuses what no socket can be made at. libuv would call a folder that is missing a matter of rights. @throws
 * CodedError ADDRESS_UNUSABLE
 */
export async function checkSocketPath(path: string): Promise<void> {
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) {
    const hint = `choose a path of at most ${MAX_PATH_BYTES} bytes`;
    throw new CodedError('ADDRESS_UNUSABLE', `${path} is too long for a unix socket`, hint);
  }
  const folder = dirname(path);
  const stats = await stat(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw listenError(path, error);
  });
  if (stats?.isDirectory()) return;
  const what = stats ? `${folder} is not a folder` : `there is no folder ${folder}`;
  const hint = stats ? 'choose another path' : 'make it first, or choose another path';
  throw new CodedError('ADDRESS_UNUSABLE', `cannot listen on ${path}: ${what}`, hint);
}

/** Only a connection that is refused says that nobody listens: others fail for want of rights, or of room. */
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
  /** Name or number; undefined leaves the group as it is. */
  readonly group: string | undefined;
}

/** Node has no name for it: a descriptor that only stands for what is at a path. */
const O_PATH = 0o10000000;

/**
 * Opens a unix socket, which so far only its owner can use, to others. By a descriptor, so that nothing else that was put at
 * its path gets the group and the mode. @throws CodedError ADDRESS_UNUSABLE
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
      'choose a group that the user of the server is a member of, or another path',
      { cause: error },
    );
  }
}

/** @throws CodedError ADDRESS_UNUSABLE */
async function groupId(group: string): Promise<number> {
  if (/^\d+$/.test(group)) return Number(group);
  const groups = await readFile('/etc/group', 'utf8').catch(() => '');
  const fields = groups.split('\n').map((line) => line.split(':'));
  const gid = fields.find(([name]) => name === group)?.[2];
  if (gid !== undefined) return Number(gid);
  throw new CodedError(
    'ADDRESS_UNUSABLE',
    `there is no group "${group}" in /etc/group`,
    'give the number of the group',
  );
}

/** What went wrong when an address could not be listened on, for an operator. */
export function listenError(address: string, error: NodeJS.ErrnoException): CodedError {
  const hints: Record<string, string> = {
    EADDRINUSE: 'another server listens there: stop it, or choose another address',
    EACCES: 'that needs other rights: choose another address, or run as a user who may',
    EADDRNOTAVAIL: 'this machine has no such address',
    ENOTFOUND: 'this name has no address',
    ENOENT: 'make the folder first',
    ENOTDIR: 'choose another path',
  };
  const hint = hints[error.code ?? ''] ?? 'choose another address';
  return new CodedError('ADDRESS_UNUSABLE', `cannot listen on ${address}: ${error.code ?? error.message}`, hint, {
    cause: error,
  });
}

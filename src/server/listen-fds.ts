import { fstatSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { CodedError } from '../base/coded-error.js';

/** Inherited sockets follow the standard streams, by the convention of systemd, libnbd and nbdkit. */
const FIRST_FD = 3;

/**
 * Returns the file descriptors of listening sockets that the parent process passed on (socket activation). Removes the
 * variables from `env`, because they are not meant for programs that this one starts.
 * @throws CodedError CONFIG_INVALID when the variables are invalid
 */
export function takeListenFds(env: NodeJS.ProcessEnv, pid: number): number[] {
  const { LISTEN_PID: listenPid, LISTEN_FDS: listenFds } = env;
  for (const name of ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES']) delete env[name];
  if (listenFds === undefined || listenPid !== String(pid)) return [];
  const count = Number(listenFds);
  if (!/^\d+$/.test(listenFds) || count === 0) {
    throw new CodedError(
      'CONFIG_INVALID',
      `LISTEN_FDS is "${listenFds}", which is not a number of sockets`,
      'start tidemark from a systemd socket unit, or without that variable',
    );
  }
  return Array.from({ length: count }, (_, i) => FIRST_FD + i);
}

/** Lists all unix sockets. Each line has seven columns, the last of which is the inode, and then the path, if there is one. */
const TABLE = '/proc/net/unix';
const LINE = /^(?:\S+ +){6}(\d+) (\/.*)$/;

/** The path of a listening unix socket. Undefined if it has no path in the file system. */
export async function pathOfUnixSocket(fd: number): Promise<string | undefined> {
  const inode = String(fstatSync(fd).ino);
  const table = await readFile(TABLE, 'utf8').catch(() => '');
  const lines = table.split('\n').map((line) => LINE.exec(line));
  return lines.find((line) => line?.[1] === inode)?.[2];
}

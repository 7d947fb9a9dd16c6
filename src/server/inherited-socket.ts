import { fstatSync } from 'node:fs';
import { readFile } from 'node:fs/promises';

/** What the kernel says of each unix socket, separated by spaces: seven columns, the last the inode, and its path if it has one. */
const TABLE = '/proc/net/unix';
const LINE = /^(?:\S+ +){6}(\d+) (\/.*)$/;

/** Where a listening unix socket lies; undefined when it has no path that a client could be told. */
export async function pathOfUnixSocket(fd: number): Promise<string | undefined> {
  const inode = String(fstatSync(fd).ino);
  const table = await readFile(TABLE, 'utf8').catch(() => '');
  const lines = table.split('\n').map((line) => LINE.exec(line));
  return lines.find((line) => line?.[1] === inode)?.[2];
}

import { fstatSync } from 'node:fs';
import { readFile } from 'node:fs/promises';

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

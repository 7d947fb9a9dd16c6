import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** The folders in which Debian puts programs. An ordinary user's PATH lacks some of them. */
const folders = ['/usr/sbin', '/usr/bin', '/sbin', '/bin'];

/** The absolute path of a program of this machine. @throws Error when it is missing */
export function programPath(name: string): string {
  const path = folders.map((folder) => join(folder, name)).find((candidate) => existsSync(candidate));
  if (path === undefined) {
    throw new Error(`a guest needs ${name}, which is not here: run node test/tools/ensure-debian-tools.mjs as root`);
  }
  return path;
}

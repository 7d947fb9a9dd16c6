import { constants, type Stats } from 'node:fs';
import { open } from 'node:fs/promises';

const { O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = constants;
/** Mode bits: others may read or write; anybody but the owner has any permission. */
const OTHERS = 0o006;
const ALL_BUT_OWNER = 0o077;

interface CheckedFile {
  readonly maxBytes: number;
  /** Throws if the file must not be trusted. `mode` is how the mode is written, such as 0644. */
  readonly check: (stats: Stats, mode: string) => void;
  /** Whether the path may be a symbolic link. */
  readonly followLinks: boolean;
}

/**
 * Reads a small text file, after `check`. Checks the open file rather than its path, so that the file cannot be replaced
 * between the check and the read. Rejects with the error of a system call, with one that says what is wrong with the
 * file, or with what `check` throws.
 */
export async function readCheckedFile(path: string, { maxBytes, check, followLinks }: CheckedFile): Promise<string> {
  await using file = await open(path, O_RDONLY | O_NONBLOCK | (followLinks ? 0 : O_NOFOLLOW));
  const stats = await file.stat();
  if (!stats.isFile()) throw new Error('it is not a regular file');
  check(stats, (stats.mode & 0o777).toString(8).padStart(4, '0'));
  if (stats.size > maxBytes) throw new Error(`it is too large (${stats.size} bytes; the limit is ${maxBytes})`);
  return file.readFile('utf8');
}

/** Whether users other than the owner and the group may read or change the file. */
export function isOpenToAll({ mode }: Stats): boolean {
  return (mode & OTHERS) !== 0;
}

/** Whether the file belongs to the user of this process, and nobody else may use it. */
export function isOursAlone({ mode, uid }: Stats): boolean {
  return uid === process.geteuid?.() && (mode & ALL_BUT_OWNER) === 0;
}

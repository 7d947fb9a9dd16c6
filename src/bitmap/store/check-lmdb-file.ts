import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

/**
 * Of a meta page of LMDB, of which a file has two at its beginning; the one of the later transaction counts. Offsets are
 * in bytes, numbers little-endian. (struct MDB_meta in mdb.c, behind a page header of 24 bytes)
 */
const META = { magic: 24, pageBytes: 48, freeRoot: 88, mainRoot: 136, transaction: 152, end: 160 } as const;
const MAGIC = 0xbeefc0de;
/** The name that LMDB gives it. */
export const STORE_FILE = 'data.mdb';
/** The root of a tree without pages. */
const NO_PAGE = 2n ** 64n - 1n;

/**
 * What is wrong with a file of LMDB, as far as its first pages tell; undefined when nothing is, or there is no file. The
 * library maps files into memory and believes them: one that was cut off or overwritten ends the program without a word.
 */
export function damageOfLmdbFile(path: string): string | undefined {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch {
    // The library says why it cannot open it.
    return undefined;
  }
  try {
    return damage(fd, fstatSync(fd).size);
  } finally {
    closeSync(fd);
  }
}

function damage(fd: number, fileBytes: number): string | undefined {
  if (fileBytes === 0) return undefined;
  const first = readMeta(fd, 0);
  if (!first) return 'its beginning is overwritten or missing';
  const second = readMeta(fd, first.pageBytes);
  if (!second) return 'its second page is overwritten or missing';
  const [newest, other] = first.transaction > second.transaction ? [first, second] : [second, first];
  // They take turns, so anything else would bring back what was stored long ago.
  if (newest.transaction - other.transaction > 1n) return 'its first two pages do not fit together';
  const { roots } = newest;
  const pages = BigInt(Math.floor(fileBytes / first.pageBytes));
  return roots.every((root) => root === NO_PAGE || root < pages) ? undefined : 'its end is missing';
}

function readMeta(fd: number, offset: number) {
  const page = Buffer.alloc(META.end);
  if (readSync(fd, page, 0, META.end, offset) < META.end || page.readUInt32LE(META.magic) !== MAGIC) return undefined;
  return {
    pageBytes: page.readUInt32LE(META.pageBytes),
    roots: [page.readBigUInt64LE(META.freeRoot), page.readBigUInt64LE(META.mainRoot)],
    transaction: page.readBigUInt64LE(META.transaction),
  };
}

import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

/**
 * Byte offsets in a meta page of LMDB; numbers are little-endian (struct MDB_meta in mdb.c, after a page header of 24
 * bytes). A file begins with two meta pages, and the one with the later transaction is valid.
 */
const META = { magic: 24, pageBytes: 48, freeRoot: 88, mainRoot: 136, transaction: 152, end: 160 } as const;
const MAGIC = 0xbeefc0de;
/** The file name that LMDB uses. */
export const STORE_FILE = 'data.mdb';
/** The root of an empty tree. */
const NO_PAGE = 2n ** 64n - 1n;

/**
 * Looks for damage in the first pages of an LMDB file; undefined when there is none, or no file. The library maps files
 * into memory and trusts them, so a truncated or overwritten file would crash the program without a message.
 */
export function damageOfLmdbFile(path: string): string | undefined {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch {
    // Opening the store will fail with the reason.
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
  // The two pages are written in turn. A larger distance means that one is old, and it might bring back old data.
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

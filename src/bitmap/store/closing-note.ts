import { closeSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { MIB } from '../../base/units.js';
import { add64, loadXxh64 } from '../../base/xxh64.js';
import { syncFolder } from '../../posix/replacement.js';
import { STORE_FILE } from './check-lmdb-file.js';

const NAME = 'closed';
/** The two meta pages, which locate everything else and hold the last transaction. */
const HEAD_BYTES = 2 * 4096;
const PIECE_BYTES = MIB;

/** Whether the file is as it was closed, changed since, changed in the pages that LMDB trusts, or was not closed. */
export type StoreState = 'as-closed' | 'changed' | 'head-changed' | 'not-closed';

interface Sums {
  readonly head: string;
  readonly all: string;
}

/** Records the checksums of a store's file. Call it after the store is closed. */
export async function noteClosed(directory: string): Promise<void> {
  const fd = openSync(join(directory, NAME), 'w', 0o600);
  try {
    writeFileSync(fd, JSON.stringify(await sumsOf(directory)));
  } finally {
    closeSync(fd);
  }
}

/** Compares a store with the checksums recorded when it was closed. */
export async function stateOf(directory: string): Promise<StoreState> {
  try {
    const noted = JSON.parse(readFileSync(join(directory, NAME), 'utf8')) as Sums;
    const { head, all } = await sumsOf(directory);
    if (all === noted.all) return 'as-closed';
    return head === noted.head ? 'changed' : 'head-changed';
  } catch {
    return 'not-closed';
  }
}

/** Marks the store as not closed, durably. */
export async function forgetClosed(directory: string): Promise<void> {
  rmSync(join(directory, NAME), { force: true });
  await syncFolder(directory);
}

/** One piece of the file is read by the thread pool while the piece before it is hashed. */
async function sumsOf(directory: string): Promise<Sums> {
  const { h64Raw } = await loadXxh64();
  await using file = await open(join(directory, STORE_FILE));
  const read = (buffer: Buffer, at: number) => file.read(buffer, 0, buffer.length, at);
  let [buffer, other] = [Buffer.allocUnsafe(PIECE_BYTES), Buffer.allocUnsafe(PIECE_BYTES)];
  let reading = read(buffer, 0);
  let [at, head, all] = [0, 0n, 0n];
  for (;;) {
    const { bytesRead } = await reading;
    if (bytesRead === 0) return { head: String(head), all: String(all) };
    reading = read(other, at + bytesRead);
    const piece = buffer.subarray(0, bytesRead);
    if (at === 0) head = h64Raw(piece.subarray(0, HEAD_BYTES));
    all = add64(all, h64Raw(piece, BigInt(at)));
    at += bytesRead;
    [buffer, other] = [other, buffer];
  }
}

import { assert } from '../base/assert.js';
import { loadXxh64 } from '../base/xxh64.js';
import { CLUSTER_BYTES } from './clusters.js';

let h64Raw: ((data: Uint8Array) => bigint) | undefined;

/**
 * Loads the hash function. Nothing can be hashed before. Threads call this after they have started: a module of a
 * thread must not use a top-level await, because Node 24 aborts the whole process if the thread ends during it.
 */
export async function loadHash(): Promise<void> {
  h64Raw ??= (await loadXxh64()).h64Raw;
}

/** The XXH64 of the data. */
export function hash64(data: Buffer): bigint {
  assert(h64Raw !== undefined, 'the hash function is loaded');
  return h64Raw(data);
}

/** What a cluster at `position` contributes to the checksum of its file. It depends on the position. */
export function hashCluster(data: Buffer, position: number): bigint {
  return hashAt(position, hash64(data));
}

/** The same, given the XXH64 of the cluster. */
export function hashAt(position: number, hash: bigint): bigint {
  const odd = 2 * (position / CLUSTER_BYTES) + 1;
  return BigInt.asUintN(64, hash * BigInt(odd));
}

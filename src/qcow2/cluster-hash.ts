import xxhash from 'xxhash-wasm';
import { assert } from '../base/assert.js';
import { CLUSTER_BYTES } from './cluster.js';

let h64Raw: ((data: Uint8Array) => bigint) | undefined;

/**
 * Loads what hashes; nothing can be hashed before. Threads wait for it after they have started. A module that a thread
 * loads must not wait at its top: Node 24 aborts the whole process when the thread is ended meanwhile.
 */
export async function loadHash(): Promise<void> {
  h64Raw ??= (await xxhash()).h64Raw;
}

/** XXH64. */
export function hash64(data: Buffer): bigint {
  assert(h64Raw !== undefined, 'what hashes is loaded');
  return h64Raw(data);
}

/** What a cluster adds to the checksum of a file in which it lies at `position`: elsewhere it adds another number. */
export function hashCluster(data: Buffer, position: number): bigint {
  const odd = 2 * (position / CLUSTER_BYTES) + 1;
  return BigInt.asUintN(64, hash64(data) * BigInt(odd));
}

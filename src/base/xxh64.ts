import xxhash from 'xxhash-wasm';

export type Xxh64 = Pick<Awaited<ReturnType<typeof xxhash>>, 'h64' | 'h64Raw' | 'create64'>;

let loaded: Promise<Xxh64> | undefined;

/** XXH64 of a string (`h64`) or of bytes (`h64Raw`), with a seed. */
export function loadXxh64(): Promise<Xxh64> {
  loaded ??= xxhash();
  return loaded;
}

/** The sum of two such hashes, modulo 2^64. */
export function add64(sum: bigint, more: bigint): bigint {
  return BigInt.asUintN(64, sum + more);
}

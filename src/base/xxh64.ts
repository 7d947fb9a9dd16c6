import xxhash from 'xxhash-wasm';

export type Xxh64 = Pick<Awaited<ReturnType<typeof xxhash>>, 'h64' | 'h64Raw' | 'create64'>;

let loaded: Promise<Xxh64> | undefined;

/** XXH64, of a text (`h64`) and of bytes (`h64Raw`), with a seed. */
export function loadXxh64(): Promise<Xxh64> {
  loaded ??= xxhash();
  return loaded;
}

/** A sum of such hashes, which stays within 64 bits. */
export function add64(sum: bigint, more: bigint): bigint {
  return BigInt.asUintN(64, sum + more);
}

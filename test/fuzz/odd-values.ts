import { MIB } from '../../src/base/units.js';
import type { Random } from '../support/random.js';

const NUMBERS = [0, 1, 2, 7, 511, 512, 513, 4095, 4096, 65_535, 65_536, 2 ** 20, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1];
const LENGTHS = [...NUMBERS, 32 * MIB, 32 * MIB + 1, 64 * MIB, 64 * MIB + 1, 2 ** 32 - 512];
const OFFSETS = [2n ** 32n, 2n ** 53n - 512n, 2n ** 53n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 512n, 2n ** 64n - 1n];

/** A 32-bit number that programs often handle wrongly, or any other. */
export function oddUint32(random: Random): number {
  return random.chance(4) ? random.below(2 ** 32) : random.pick(LENGTHS);
}

export function oddUint16(random: Random): number {
  return random.chance(4) ? random.below(2 ** 16) : random.pick(NUMBERS) % 2 ** 16;
}

export function oddUint64(random: Random): bigint {
  if (random.chance(2)) return random.pick(OFFSETS);
  return random.chance(2)
    ? BigInt(oddUint32(random))
    : (BigInt(random.below(2 ** 32)) << 32n) | BigInt(random.below(2 ** 32));
}

/** The bytes with some of them changed, cut off, doubled or inserted. */
export function mutate(random: Random, bytes: Buffer): Buffer {
  let mutated = Buffer.from(bytes);
  for (let changes = 1 + random.below(3); changes > 0; changes--) {
    const at = random.below(mutated.length + 1);
    const end = Math.min(mutated.length, at + 1 + random.below(8));
    const [before, middle, after] = [mutated.subarray(0, at), mutated.subarray(at, end), mutated.subarray(end)];
    const kind = random.below(5);
    if (kind === 0 && mutated.length > 0) mutated[at % mutated.length]! ^= 1 << random.below(8);
    else if (kind === 1 && mutated.length >= 4) mutated.writeUInt32BE(oddUint32(random), at % (mutated.length - 3));
    else if (kind === 2) mutated = Buffer.from(before);
    else if (kind === 3) mutated = Buffer.concat([before, middle, middle, after]);
    else mutated = Buffer.concat([before, randomBytes(random, 1 + random.below(8)), after]);
  }
  return mutated;
}

export function randomBytes(random: Random, length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => random.below(256)));
}

/** Ascending positions at which to split this many bytes, mostly none. */
export function cutPoints(random: Random, length: number): number[] {
  const count = random.chance(3) ? 1 + random.below(3) : 0;
  return Array.from({ length: count }, () => random.below(length + 1)).sort((a, b) => a - b);
}

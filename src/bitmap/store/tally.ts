import { add64 } from '../../base/xxh64.js';

const BYTES = 16;

/**
 * The sum over the key hashes and over the checksums of a group of entries. It detects entries that are missing, extra
 * or out of date, and does not depend on their order.
 */
export class Tally {
  private constructor(
    private keys: bigint,
    private checksums: bigint,
  ) {}

  static empty(): Tally {
    return new Tally(0n, 0n);
  }

  static decode(value: Buffer): Tally {
    return new Tally(value.readBigUInt64LE(0), value.readBigUInt64LE(8));
  }

  get isEmpty(): boolean {
    return this.keys === 0n && this.checksums === 0n;
  }

  add(keyHash: bigint, checksum: bigint): void {
    this.keys = add64(this.keys, keyHash);
    this.checksums = add64(this.checksums, checksum);
  }

  remove(keyHash: bigint, checksum: bigint): void {
    this.add(-keyHash, -checksum);
  }

  hasKeysOf(other: Tally): boolean {
    return this.keys === other.keys;
  }

  equals(other: Tally): boolean {
    return this.hasKeysOf(other) && this.checksums === other.checksums;
  }

  encode(): Buffer {
    const value = Buffer.alloc(BYTES);
    value.writeBigUInt64LE(this.keys, 0);
    value.writeBigUInt64LE(this.checksums, 8);
    return value;
  }
}

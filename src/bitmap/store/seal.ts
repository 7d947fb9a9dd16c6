import { loadXxh64, type Xxh64 } from '../../base/xxh64.js';
import type { Key } from './key-value-store.js';

const CHECKSUM_BYTES = 8;

/** Appends to each value a checksum of the value and its key, so that no value passes for that of another key. */
export class Seal {
  private constructor(private readonly xxh64: Xxh64) {}

  static async load(): Promise<Seal> {
    return new Seal(await loadXxh64());
  }

  hashOf(key: Key): bigint {
    return this.xxh64.h64(JSON.stringify(key));
  }

  close(keyHash: bigint, value: Buffer): { sealed: Buffer; checksum: bigint } {
    const checksum = this.xxh64.h64Raw(value, keyHash);
    const sealed = Buffer.allocUnsafe(value.length + CHECKSUM_BYTES);
    value.copy(sealed);
    sealed.writeBigUInt64LE(checksum, value.length);
    return { sealed, checksum };
  }

  /** The value without its checksum; undefined when the checksum does not match. */
  open(keyHash: bigint, sealed: Buffer): Buffer | undefined {
    const checksum = checksumOf(sealed);
    if (checksum === undefined) return undefined;
    const value = sealed.subarray(0, sealed.length - CHECKSUM_BYTES);
    return this.xxh64.h64Raw(value, keyHash) === checksum ? value : undefined;
  }
}

/** The checksum stored after the value, unverified. */
export function checksumOf(sealed: Buffer): bigint | undefined {
  return sealed.length < CHECKSUM_BYTES ? undefined : sealed.readBigUInt64LE(sealed.length - CHECKSUM_BYTES);
}

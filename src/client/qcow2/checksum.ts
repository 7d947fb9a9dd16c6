import xxhash from 'xxhash-wasm';

const { create64 } = await xxhash();

/**
 * The checksum of an image: XXH64 (seed 0) of the file, its first cluster last. An image is written in that order, for
 * the header that makes it one comes after everything else.
 */
export class ImageChecksum {
  private readonly hash = create64();

  /** Takes the next bytes. */
  update(data: Buffer): void {
    this.hash.update(data);
  }

  /** As manifests have it: `xxh64:` and 16 hexadecimal digits. */
  finish(): string {
    return `xxh64:${this.hash.digest().toString(16).padStart(16, '0')}`;
  }
}

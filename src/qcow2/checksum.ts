import { add64 } from '../base/xxh64.js';
import { hash64, hashCluster, loadHash } from './cluster-hash.js';
import { CLUSTER_BYTES } from './clusters.js';

const PREFIX = 'xxh64-sum:';

// On the main thread, importing this module is enough to be able to hash.
await loadHash();

export { hash64 };

/**
 * The checksum of an image: the XXH64 of cluster i of the file times 2i + 1, summed over all clusters modulo 2^64. The
 * order of the sum does not matter, so several threads can write an image.
 */
export class ImageChecksum {
  private sum = 0n;

  /** The checksum of a whole file: `bodyChecksum` covers everything but its first cluster, `head`. */
  static ofWhole(bodyChecksum: string, head: Buffer): string {
    const checksum = new ImageChecksum();
    checksum.sum = BigInt(`0x${bodyChecksum.slice(PREFIX.length)}`);
    checksum.add(head, 0);
    return checksum.finish();
  }

  /** Adds whole clusters that are at `position` in the file. */
  add(data: Buffer, position: number): void {
    for (let at = 0; at < data.length; at += CLUSTER_BYTES) {
      this.addHash(hashCluster(data.subarray(at, at + CLUSTER_BYTES), position + at));
    }
  }

  /** Adds a cluster, given its `hashCluster`. */
  addHash(hash: bigint): void {
    this.sum = add64(this.sum, hash);
  }

  /** The checksum as manifests store it: `xxh64-sum:` and 16 hexadecimal digits. */
  finish(): string {
    return `${PREFIX}${this.sum.toString(16).padStart(16, '0')}`;
  }
}

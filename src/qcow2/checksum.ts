import { CLUSTER_BYTES } from './cluster.js';
import { hash64, hashCluster, loadHash } from './cluster-hash.js';

const PREFIX = 'xxh64-sum:';

// For the main thread, so that whoever imports this module can hash at once.
await loadHash();

export { hash64 };

/**
 * The checksum of an image: XXH64 of cluster i of the file, times 2i + 1, summed over all, modulo 2^64. The order in which
 * they are summed does not matter, so several threads may write an image.
 */
export class ImageChecksum {
  private sum = 0n;

  /** That of a file of which everything but the first cluster has that checksum. */
  static ofWhole(bodyChecksum: string, head: Buffer): string {
    const checksum = new ImageChecksum();
    checksum.sum = BigInt(`0x${bodyChecksum.slice(PREFIX.length)}`);
    checksum.add(head, 0);
    return checksum.finish();
  }

  /** Adds whole clusters that lie at `position` of the file. */
  add(data: Buffer, position: number): void {
    for (let at = 0; at < data.length; at += CLUSTER_BYTES) {
      this.addHash(hashCluster(data.subarray(at, at + CLUSTER_BYTES), position + at));
    }
  }

  /** Adds a cluster by its `hashCluster`. */
  addHash(hash: bigint): void {
    this.sum = BigInt.asUintN(64, this.sum + hash);
  }

  /** As manifests have it: `xxh64-sum:` and 16 hexadecimal digits. */
  finish(): string {
    return `${PREFIX}${this.sum.toString(16).padStart(16, '0')}`;
  }
}

import { AppendFile, createTarget } from '../../src/qcow2/append-file.js';
import { CLUSTER_BYTES } from '../../src/qcow2/clusters.js';
import { Qcow2Writer, type WrittenImage } from '../../src/qcow2/writer.js';
import type { Random } from './random.js';
import { run } from './run.js';

/** What is written to one cluster of a disk; `skip` leaves it to the backing file. */
export type ClusterContent = 'skip' | 'zero' | number;

/** Writes an image with so much in each cluster: a number is the byte that the cluster is filled with. */
export async function writeImage(
  path: string,
  sizeBytes: number,
  contents: readonly ClusterContent[],
  backingName?: string,
): Promise<WrittenImage> {
  const file = new AppendFile(await createTarget(path));
  const writer = new Qcow2Writer(file, sizeBytes, backingName);
  for (const [cluster, content] of contents.entries()) {
    const offset = cluster * CLUSTER_BYTES;
    const length = Math.min(CLUSTER_BYTES, sizeBytes - offset);
    if (content === 'zero') writer.zero(offset, length);
    else if (content !== 'skip') await writer.write(offset, Buffer.alloc(length, content));
  }
  const written = await writer.finish();
  await file.close();
  return written;
}

/** The checksum of an image as docs/backup.md computes it by hand. */
export async function checksumByHand(path: string): Promise<string> {
  const lines = await run('split', '-b', '64K', '--filter=xxh64sum', path);
  const hashes = lines
    .trim()
    .split('\n')
    .map((line) => BigInt(`0x${line.split(' ')[0]}`));
  const sum = hashes.reduce((total, hash, cluster) => total + hash * (2n * BigInt(cluster) + 1n), 0n);
  return `xxh64-sum:${BigInt.asUintN(64, sum).toString(16).padStart(16, '0')}`;
}

/** The disk as it is with such an image on top of it. */
export function applyTo(disk: Buffer, contents: readonly ClusterContent[]): void {
  for (const [cluster, content] of contents.entries()) {
    const start = cluster * CLUSTER_BYTES;
    if (content !== 'skip') disk.fill(content === 'zero' ? 0 : content, start, start + CLUSTER_BYTES);
  }
}

/** Contents at random: runs of each kind; data that is all zero as well. */
export function randomContents(random: Random, clusters: number): ClusterContent[] {
  const contents: ClusterContent[] = [];
  while (contents.length < clusters) {
    const kind = random.pick(['skip', 'zero', 0, 'data', 'data'] as const);
    for (let i = random.below(5); i >= 0; i--) contents.push(kind === 'data' ? 1 + random.below(255) : kind);
  }
  return contents.slice(0, clusters);
}

import { AppendFile, createTarget } from '../../src/qcow2/append-file.js';
import { CLUSTER_BYTES } from '../../src/qcow2/clusters.js';
import { Qcow2Writer, type WrittenImage } from '../../src/qcow2/writer.js';
import type { Random } from './random.js';
import { run } from './run.js';

/** The content of one cluster; `skip` leaves it to the backing file. */
export type ClusterContent = 'skip' | 'zero' | number;

/** Writes an image with these clusters. A number is the byte that fills the cluster. */
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

/** The checksum of an image, computed as docs/backup.md describes it. */
export async function checksumByHand(path: string): Promise<string> {
  const lines = await run('split', '-b', '64K', '--filter=xxh64sum', path);
  const hashes = lines
    .trim()
    .split('\n')
    .map((line) => BigInt(`0x${line.split(' ')[0]}`));
  const sum = hashes.reduce((total, hash, cluster) => total + hash * (2n * BigInt(cluster) + 1n), 0n);
  return `xxh64-sum:${BigInt.asUintN(64, sum).toString(16).padStart(16, '0')}`;
}

/** The disk with such an image on top of it. */
export function applyTo(disk: Buffer, contents: readonly ClusterContent[]): void {
  for (const [cluster, content] of contents.entries()) {
    const start = cluster * CLUSTER_BYTES;
    if (content !== 'skip') disk.fill(content === 'zero' ? 0 : content, start, start + CLUSTER_BYTES);
  }
}

/** Random contents: runs of each kind, including data that is all zeroes. */
export function randomContents(random: Random, clusters: number): ClusterContent[] {
  const contents: ClusterContent[] = [];
  while (contents.length < clusters) {
    const kind = random.pick(['skip', 'zero', 0, 'data', 'data'] as const);
    for (let i = random.below(5); i >= 0; i--) contents.push(kind === 'data' ? 1 + random.below(255) : kind);
  }
  return contents.slice(0, clusters);
}

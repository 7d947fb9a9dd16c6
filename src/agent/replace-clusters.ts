import type { AppendFile } from '../qcow2/append-file.js';
import { hashCluster } from '../qcow2/cluster-hash.js';
import { CLUSTER_BYTES, type PlacedClusters, ZERO_CLUSTER } from '../qcow2/clusters.js';
import { contentRuns } from '../qcow2/content-runs.js';
import { UNREAD_CLUSTER } from './cluster-placer.js';

/** Reads a view over NBD. */
export interface ViewData {
  /** Longest read, in bytes: a multiple of the cluster size. */
  readonly pieceBytes: number;
  read(offset: number, length: number): Promise<Buffer>;
}

/** Marks with 1 each cluster that could not be read. */
export function unreadClusters({ positions }: PlacedClusters): Uint8Array {
  return Uint8Array.from(positions, (position) => (position === UNREAD_CLUSTER ? 1 : 0));
}

/** Reads the marked clusters from the view, and puts them in the place of what the image has. `offset` is the first one's. */
export async function replaceClusters(
  view: ViewData,
  file: AppendFile,
  { offset, placed, marks }: { readonly offset: number; readonly placed: PlacedClusters; readonly marks: Uint8Array },
): Promise<void> {
  for (const { first, count } of runsOf(marks, view.pieceBytes / CLUSTER_BYTES)) {
    const data = await view.read(offset + first * CLUSTER_BYTES, count * CLUSTER_BYTES);
    await replace(file, placed, first, data);
  }
}

/** Replaces the data of clusters, at their position or at a new one. */
async function replace(
  file: AppendFile,
  { positions, hashes }: PlacedClusters,
  first: number,
  data: Buffer,
): Promise<void> {
  const written: Promise<void>[] = [];
  for (const { start, end, isZero } of contentRuns(data)) {
    for (let at = start; at < end; at += CLUSTER_BYTES) {
      const cluster = first + at / CLUSTER_BYTES;
      const hasPlace = positions[cluster]! > ZERO_CLUSTER;
      if (isZero && !hasPlace) {
        positions[cluster] = ZERO_CLUSTER;
        continue;
      }
      const position = hasPlace ? positions[cluster]! : file.end.take(CLUSTER_BYTES);
      const content = data.subarray(at, at + CLUSTER_BYTES);
      written.push(file.write(content, position));
      positions[cluster] = position;
      hashes[cluster] = hashCluster(content, position);
    }
  }
  await Promise.all(written);
}

/** Yields the runs of ones, none longer than `maxCount`. */
function* runsOf(marks: Uint8Array, maxCount: number): Generator<{ first: number; count: number }> {
  for (let first = marks.indexOf(1); first !== -1; ) {
    let end = first + 1;
    while (end - first < maxCount && marks[end] === 1) end++;
    yield { first, count: end - first };
    first = marks.indexOf(1, end);
  }
}

import { readUInt64 } from '../base/big-endian.js';
import { CLUSTER_BYTES } from './clusters.js';
import { ClusterState, ENTRY_BYTES, L2_ENTRIES, REFCOUNT_BYTES, REFCOUNTS_PER_BLOCK } from './format.js';
import { Qcow2Image } from './image.js';
import { Qcow2Error } from './image-file.js';

/**
 * Checks all tables of an image, without reading its data: every cluster of the file must be used exactly once and have
 * a reference count of 1. Resolves to the bytes of data and the bytes marked as zero.
 * @throws Qcow2Error, and system errors
 */
export async function checkImage(
  path: string,
  signal?: AbortSignal,
): Promise<{ dataBytes: number; zeroBytes: number }> {
  await using image = await Qcow2Image.open(path);
  const use = new ClusterUse(image);
  const { l1Offset, l1Entries, refcountTableOffset, refcountTableClusters } = image.header;
  use.take(0, 1);
  use.take(l1Offset, Math.ceil((l1Entries * ENTRY_BYTES) / CLUSTER_BYTES));
  use.take(refcountTableOffset, refcountTableClusters);
  let [dataClusters, zeroClusters] = [0, 0];
  for (let index = 0; index < l1Entries; index++) {
    signal?.throwIfAborted();
    const table = await image.readL2(index);
    if (!table) continue;
    use.take(image.l2OffsetAt(index), 1);
    for (let cluster = 0; cluster < L2_ENTRIES; cluster++) {
      const entry = image.clusterAt(table, cluster);
      if (entry === ClusterState.UNALLOCATED) continue;
      if (entry === ClusterState.ZERO) {
        zeroClusters++;
        continue;
      }
      use.take(entry, 1);
      dataClusters++;
    }
  }
  await checkRefcounts(image, use);
  use.expectAllTaken();
  return { dataBytes: dataClusters * CLUSTER_BYTES, zeroBytes: zeroClusters * CLUSTER_BYTES };
}

async function checkRefcounts(image: Qcow2Image, use: ClusterUse): Promise<void> {
  const { refcountTableOffset, refcountTableClusters } = image.header;
  const table = await image.read(refcountTableOffset, refcountTableClusters * CLUSTER_BYTES);
  for (let block = 0; block * REFCOUNTS_PER_BLOCK < use.clusters; block++) {
    const at = block * ENTRY_BYTES;
    if (at >= table.length) throw new Qcow2Error(image.path, 'its reference count table is too short');
    const offset = readUInt64(table, at);
    use.take(offset, 1);
    const counts = await image.read(offset, CLUSTER_BYTES);
    const counted = Math.min(REFCOUNTS_PER_BLOCK, use.clusters - block * REFCOUNTS_PER_BLOCK);
    for (let i = 0; i < counted; i++) {
      if (counts.readUInt16BE(i * REFCOUNT_BYTES) === 1) continue;
      throw new Qcow2Error(image.path, `cluster ${block * REFCOUNTS_PER_BLOCK + i} has a wrong reference count`);
    }
  }
}

/** The clusters of a file that are in use: one byte for each, so 1 MiB for 64 GiB. */
class ClusterUse {
  readonly clusters: number;
  private readonly taken: Uint8Array;

  constructor(private readonly image: Qcow2Image) {
    if (image.fileBytes % CLUSTER_BYTES !== 0) throw new Qcow2Error(image.path, 'its end is cut off');
    this.clusters = image.fileBytes / CLUSTER_BYTES;
    this.taken = new Uint8Array(this.clusters);
  }

  take(offset: number, count: number): void {
    const first = offset / CLUSTER_BYTES;
    const { path } = this.image;
    if (!Number.isInteger(first))
      throw new Qcow2Error(path, 'one of its tables has an offset that is not a multiple of the cluster size');
    for (let cluster = first; cluster < first + count; cluster++) {
      if (cluster >= this.clusters) throw new Qcow2Error(path, 'one of its tables points outside the file');
      if (this.taken[cluster]) throw new Qcow2Error(path, `cluster ${cluster} is used twice`);
      this.taken[cluster] = 1;
    }
  }

  expectAllTaken(): void {
    const unused = this.taken.indexOf(0);
    if (unused !== -1) throw new Qcow2Error(this.image.path, `cluster ${unused} is not used`);
  }
}

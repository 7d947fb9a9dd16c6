import { CLUSTER_BYTES } from './cluster.js';
import { ClusterState, ENTRY_BYTES, L2_ENTRIES, REFCOUNT_BYTES, REFCOUNTS_PER_BLOCK } from './format.js';
import { Qcow2Image } from './image.js';
import { Qcow2Error } from './qcow2-error.js';

/**
 * Reads all of an image's tables, not its data: every cluster of the file is used exactly once, and counted so. Resolves
 * to how much data the tables have, and how much they call zero, in bytes. @throws Qcow2Error, and errors of the system
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
    if (at >= table.length) throw new Qcow2Error(image.path, 'its table of reference counts is too short');
    const offset = table.readUInt32BE(at) * 2 ** 32 + table.readUInt32BE(at + 4);
    use.take(offset, 1);
    const counts = await image.read(offset, CLUSTER_BYTES);
    const counted = Math.min(REFCOUNTS_PER_BLOCK, use.clusters - block * REFCOUNTS_PER_BLOCK);
    for (let i = 0; i < counted; i++) {
      if (counts.readUInt16BE(i * REFCOUNT_BYTES) === 1) continue;
      throw new Qcow2Error(image.path, `cluster ${block * REFCOUNTS_PER_BLOCK + i} has a wrong reference count`);
    }
  }
}

/** Which clusters of a file are in use: a byte for each, 1 MiB for 64 GiB. */
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
    if (!Number.isInteger(first)) throw new Qcow2Error(path, 'a table of it does not begin at a cluster');
    for (let cluster = first; cluster < first + count; cluster++) {
      if (cluster >= this.clusters) throw new Qcow2Error(path, 'a table of it points outside the file');
      if (this.taken[cluster]) throw new Qcow2Error(path, `cluster ${cluster} is used twice`);
      this.taken[cluster] = 1;
    }
  }

  expectAllTaken(): void {
    const unused = this.taken.indexOf(0);
    if (unused !== -1) throw new Qcow2Error(this.image.path, `cluster ${unused} is used by nothing`);
  }
}

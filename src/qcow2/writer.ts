import { assert } from '../base/assert.js';
import { writeUInt64 } from '../base/big-endian.js';
import type { AppendFile } from './append-file.js';
import { CLUSTER_BYTES, type PlacedClusters, ZERO_CLUSTER } from './clusters.js';
import { contentRuns, padToCluster } from './content-runs.js';
import {
  ENTRY_BYTES,
  L2_SPAN_BYTES,
  l1EntriesFor,
  putOffset,
  putZero,
  REFCOUNT_BYTES,
  REFCOUNTS_PER_BLOCK,
  roundUpToCluster,
} from './format.js';
import { encodeHead } from './head.js';

/** The finished parts of an image, before its first cluster is written. */
export interface WrittenBody {
  readonly fileBytes: number;
  /** The `ImageChecksum` of everything but the first cluster. */
  readonly bodyChecksum: string;
  /** The bytes of clusters that have data in this image. */
  readonly dataBytes: number;
  /** The bytes of clusters that are marked as zero. */
  readonly zeroBytes: number;
}

export interface WrittenImage extends WrittenBody {
  /** The `ImageChecksum` of the file. */
  readonly checksum: string;
}

/**
 * Writes a qcow2 image in one pass over the disk, by ascending offset. Each L2 table follows the clusters that it
 * describes, and the reference counts come last. The header is written after everything else: without it, the file is
 * not an image. So the file has no gaps, each of its clusters has exactly one reference, and only one L2 table is in
 * memory.
 */
export class Qcow2Writer {
  private readonly l1: Buffer;
  private l2: Buffer | undefined;
  private l2Index = 0;
  private reached = 0;
  private dataBytes = 0;
  private zeroBytes = 0;

  constructor(
    private readonly file: AppendFile,
    private readonly sizeBytes: number,
    /** A qcow2 image in the folder of this image. Without one, everything that is not written reads as zeroes. */
    private readonly backingName?: string,
  ) {
    this.l1 = Buffer.alloc(l1EntriesFor(sizeBytes) * ENTRY_BYTES);
  }

  /**
   * Writes the data of the disk from `offset` on, in whole clusters except at the end of the disk. Clusters of zeroes
   * take no space. Resolves when the buffer can be reused.
   */
  async write(offset: number, data: Buffer): Promise<void> {
    this.advanceTo(offset, data.length);
    const whole = padToCluster(data);
    const written: Promise<void>[] = [];
    for (const { start, end, isZero } of contentRuns(whole)) {
      if (isZero) this.markZero(offset + start, end - start);
      else written.push(...this.writeData(offset + start, whole.subarray(start, end)));
    }
    await Promise.all(written);
  }

  /** Adds clusters to the disk, from `offset` on, that are already in the file. */
  place(offset: number, { positions, hashes }: PlacedClusters): void {
    this.advanceTo(offset, positions.length * CLUSTER_BYTES);
    for (const [cluster, position] of positions.entries()) {
      const at = offset + cluster * CLUSTER_BYTES;
      if (position === ZERO_CLUSTER) {
        this.markZero(at, CLUSTER_BYTES);
        continue;
      }
      assert(position > 0, 'every cluster has its place');
      putOffset(this.enterL2(at), this.indexInL2(at), position);
      this.file.checksum.addHash(hashes[cluster]!);
      this.dataBytes += CLUSTER_BYTES;
    }
  }

  /** Marks whole clusters as zero. Only the last one of the disk may be shorter. */
  zero(offset: number, length: number): void {
    this.advanceTo(offset, length);
    this.markZero(offset, roundUpToCluster(length));
  }

  /** Writes the rest of the image with its note, and makes it durable. */
  async finish(noteOf?: (body: WrittenBody) => Buffer | undefined): Promise<WrittenImage> {
    const { file, sizeBytes, backingName, dataBytes, zeroBytes } = this;
    this.sealL2();
    const l1Offset = await this.appendPadded(this.l1);
    const refcounts = await this.appendRefcounts();
    const body = { fileBytes: file.end.position, bodyChecksum: file.checksum.finish(), dataBytes, zeroBytes };
    const tables = { l1Offset, refcountTableOffset: refcounts.offset, refcountTableClusters: refcounts.clusters };
    const head = encodeHead({ sizeBytes, backingName, ...tables, note: noteOf?.(body) });
    return { ...body, checksum: await file.finish(head) };
  }

  private advanceTo(offset: number, length: number): void {
    assert(offset >= this.reached && offset % CLUSTER_BYTES === 0, 'a disk is written cluster by cluster, in order');
    const end = offset + length;
    assert(
      end === this.sizeBytes || (end < this.sizeBytes && length % CLUSTER_BYTES === 0),
      'whole clusters are written',
    );
    this.reached = end;
  }

  /** Returns one promise for each piece: a run of clusters is split where the next L2 table begins. */
  private writeData(offset: number, data: Buffer): Promise<void>[] {
    const written: Promise<void>[] = [];
    for (let at = 0; at < data.length; ) {
      const table = this.enterL2(offset + at);
      const first = this.indexInL2(offset + at);
      const length = Math.min(data.length - at, L2_SPAN_BYTES - ((offset + at) % L2_SPAN_BYTES));
      const appended = this.file.append(data.subarray(at, at + length));
      for (let cluster = 0; cluster * CLUSTER_BYTES < length; cluster++) {
        putOffset(table, first + cluster, appended.position + cluster * CLUSTER_BYTES);
      }
      written.push(appended.written);
      at += length;
    }
    this.dataBytes += data.length;
    return written;
  }

  private markZero(offset: number, length: number): void {
    if (this.backingName === undefined) return;
    for (let at = offset; at < offset + length; at += CLUSTER_BYTES) putZero(this.enterL2(at), this.indexInL2(at));
    this.zeroBytes += length;
  }

  /** The L2 table for an offset of the disk. If that is a new one, the table before it is complete and gets written. */
  private enterL2(offset: number): Buffer {
    const index = Math.floor(offset / L2_SPAN_BYTES);
    if (index !== this.l2Index) this.sealL2();
    this.l2Index = index;
    this.l2 ??= Buffer.alloc(CLUSTER_BYTES);
    return this.l2;
  }

  private indexInL2(offset: number): number {
    return (offset % L2_SPAN_BYTES) / CLUSTER_BYTES;
  }

  private sealL2(): void {
    if (!this.l2) return;
    const { position, written } = this.file.append(this.l2);
    putOffset(this.l1, this.l2Index, position);
    // The file remembers a failure, and `finish` throws it.
    written.catch(() => {});
    this.l2 = undefined;
  }

  /** Resolves to the position of the data. */
  private async appendPadded(data: Buffer): Promise<number> {
    const { position, written } = this.file.append(padToCluster(data));
    await written;
    return position;
  }

  /** Writes a count of 1 for every cluster of the file, including the clusters of the counts. */
  private async appendRefcounts(): Promise<{ offset: number; clusters: number }> {
    const before = this.file.end.position / CLUSTER_BYTES;
    const { blocks, tableClusters } = refcountClusters(before);
    const total = before + blocks + tableClusters;
    const table = Buffer.alloc(blocks * ENTRY_BYTES);
    for (let block = 0; block < blocks; block++) {
      const counted = Math.min(REFCOUNTS_PER_BLOCK, total - block * REFCOUNTS_PER_BLOCK);
      const counts = Buffer.alloc(CLUSTER_BYTES);
      for (let i = 0; i < counted; i++) counts.writeUInt16BE(1, i * REFCOUNT_BYTES);
      const offset = await this.appendPadded(counts);
      writeUInt64(table, block * ENTRY_BYTES, offset);
    }
    const offset = await this.appendPadded(table);
    return { offset, clusters: tableClusters };
  }
}

/** The number of clusters for the reference counts of a file that has `before` other clusters. */
function refcountClusters(before: number): { blocks: number; tableClusters: number } {
  let blocks = 1;
  let tableClusters = 1;
  for (;;) {
    const total = before + blocks + tableClusters;
    const neededBlocks = Math.ceil(total / REFCOUNTS_PER_BLOCK);
    const neededTable = Math.ceil((neededBlocks * ENTRY_BYTES) / CLUSTER_BYTES);
    if (neededBlocks === blocks && neededTable === tableClusters) return { blocks, tableClusters };
    blocks = neededBlocks;
    tableClusters = neededTable;
  }
}

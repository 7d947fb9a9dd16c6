import type { Qcow2Chain } from '../qcow2/chain.js';
import { ImageChecksum } from '../qcow2/checksum.js';
import { CLUSTER_BYTES } from '../qcow2/clusters.js';
import type { Qcow2Image } from '../qcow2/image.js';
import { Qcow2Error } from '../qcow2/image-file.js';
import { addParts, addPartsInThreads, type FilePart } from './image-checksum.js';
import type { ImageThreads } from './image-threads.js';
import { findOtherChecksum } from './inspect-image.js';
import type { ImageEntry } from './manifest-format.js';

/**
 * The checksums of the images of a chain, computed while the chain is copied: the clusters that are copied are hashed
 * as they pass, and the others (tables, and data that images above hide) are read afterwards. So each cluster is read
 * once, and what is hashed is what is written.
 */
export class ChainChecksums {
  private readonly checksums: ReadonlyMap<string, PartialChecksum>;

  constructor(chain: Qcow2Chain) {
    this.checksums = new Map(chain.images.map((image) => [image.path, new PartialChecksum(image)]));
  }

  /** Adds whole clusters of the image at `path` that were copied. @throws Qcow2Error if they were copied before */
  addData(path: string, data: Buffer, position: number): void {
    this.checksums.get(path)!.addData(data, position);
  }

  /** The same, given the sum of the `hashCluster` of the clusters. @throws Qcow2Error */
  addSum(path: string, part: FilePart, sum: bigint): void {
    this.checksums.get(path)!.addSum(part, sum);
  }

  /** Reads the clusters that were not copied. @throws Qcow2Error, system errors */
  async readTheRest(signal: AbortSignal, threads?: ImageThreads): Promise<void> {
    for (const checksum of this.checksums.values()) await checksum.readTheRest(signal, threads);
  }

  /** Compares an image with its entry, when everything was read. @throws Qcow2Error if they differ */
  expect(path: string, entry: Pick<ImageEntry, 'checksum'>): void {
    const read = this.checksums.get(path);
    if (!read) throw new Qcow2Error(path, 'it is not in the chain any more');
    const problem = findOtherChecksum(read.checksum.finish(), entry);
    if (problem !== undefined) throw new Qcow2Error(path, problem);
  }
}

class PartialChecksum {
  readonly checksum = new ImageChecksum();
  /** One byte for each cluster of the file. */
  private readonly isAdded: Uint8Array;

  constructor(private readonly image: Qcow2Image) {
    this.isAdded = new Uint8Array(Math.ceil(image.fileBytes / CLUSTER_BYTES));
  }

  addData(data: Buffer, position: number): void {
    this.take({ position, length: data.length });
    this.checksum.add(data, position);
  }

  addSum(part: FilePart, sum: bigint): void {
    this.take(part);
    this.checksum.addHash(sum);
  }

  async readTheRest(signal: AbortSignal, threads: ImageThreads | undefined): Promise<void> {
    const { checksum, image } = this;
    if (threads) await addPartsInThreads(checksum, image, this.rest(), threads);
    else await addParts(checksum, image, this.rest(), signal);
  }

  /** A damaged table can name a cluster twice. It must count once, like every other. */
  private take({ position, length }: FilePart): void {
    const [first, end] = [position / CLUSTER_BYTES, (position + length) / CLUSTER_BYTES];
    const twice = this.isAdded.subarray(first, end).indexOf(1);
    if (twice !== -1) throw new Qcow2Error(this.image.path, `cluster ${first + twice} is used twice`);
    this.isAdded.fill(1, first, end);
  }

  private *rest(): Generator<FilePart> {
    const { isAdded } = this;
    for (let start = isAdded.indexOf(0); start !== -1; ) {
      const next = isAdded.indexOf(1, start);
      const end = next === -1 ? isAdded.length : next;
      const position = start * CLUSTER_BYTES;
      yield { position, length: Math.min(end * CLUSTER_BYTES, this.image.fileBytes) - position };
      start = isAdded.indexOf(0, end);
    }
  }
}

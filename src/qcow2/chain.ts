import { dirname, join } from 'node:path';
import { assert } from '../base/assert.js';
import { CLUSTER_BYTES } from './clusters.js';
import { ClusterState, L2_ENTRIES, L2_SPAN_BYTES } from './format.js';
import { Qcow2Image } from './image.js';
import { Qcow2Error } from './image-file.js';

/** A longer chain is assumed to be a cycle. */
const MAX_IMAGES = 100_000;

/** A run of the disk whose data is in one piece in one image. All fields are in bytes. */
export interface ChainRun {
  readonly offset: number;
  length: number;
  /** Undefined: the run reads as zeroes. */
  readonly image: Qcow2Image | undefined;
  readonly fileOffset: number;
}

/** An image and its backing files, with the top image first. */
export class Qcow2Chain implements AsyncDisposable {
  private constructor(readonly images: readonly Qcow2Image[]) {}

  /** Opens the image at `path` and all its backing files. @throws Qcow2Error and system errors */
  static async open(path: string): Promise<Qcow2Chain> {
    const chain = new Qcow2Chain([]);
    const images = chain.images as Qcow2Image[];
    try {
      for (let next: string | undefined = path; next !== undefined; ) {
        if (images.length === MAX_IMAGES)
          throw new Qcow2Error(path, `its chain of backing files has more than ${MAX_IMAGES} images, or is a cycle`);
        const image: Qcow2Image = await Qcow2Image.open(next);
        images.push(image);
        next = image.backingName === undefined ? undefined : join(dirname(next), image.backingName);
      }
      return chain;
    } catch (error) {
      await chain[Symbol.asyncDispose]();
      throw error;
    }
  }

  get sizeBytes(): number {
    return this.images[0]!.sizeBytes;
  }

  /** The whole disk by ascending offset. Adjacent runs that are also adjacent in one image are merged. */
  async *runs(): AsyncGenerator<ChainRun> {
    assert(this.images.length > 0, 'a chain has an image');
    const top = this.images[0]!;
    let run: ChainRun | undefined;
    for (let index = 0; index < top.l1Entries; index++) {
      for (const next of await this.runsOfTable(index)) {
        if (run && continues(run, next)) {
          run.length += next.length;
        } else {
          if (run) yield run;
          run = next;
        }
      }
    }
    if (run) yield run;
  }

  private async runsOfTable(index: number): Promise<ChainRun[]> {
    const start = index * L2_SPAN_BYTES;
    const end = Math.min(start + L2_SPAN_BYTES, this.sizeBytes);
    const layers = await this.layersOf(index);
    const runs: ChainRun[] = [];
    for (let at = start, cluster = 0; at < end && cluster < L2_ENTRIES; at += CLUSTER_BYTES, cluster++) {
      const found = layers.length === 0 ? undefined : lookUp(layers, cluster, at);
      const next = {
        offset: at,
        length: Math.min(CLUSTER_BYTES, end - at),
        image: found?.image,
        fileOffset: found?.fileOffset ?? 0,
      };
      const last = runs.at(-1);
      if (last && continues(last, next)) last.length += next.length;
      else runs.push(next);
    }
    return runs;
  }

  private async layersOf(index: number): Promise<Layer[]> {
    const layers: Layer[] = [];
    let limitBytes = this.sizeBytes;
    for (const image of this.images) {
      // Beyond the end of a smaller image, the images below it are not visible.
      limitBytes = Math.min(limitBytes, image.sizeBytes);
      const table = await image.readL2(index);
      if (table) layers.push({ image, table, limitBytes });
    }
    return layers;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.images.map((image) => image[Symbol.asyncDispose]()));
  }
}

interface Layer {
  readonly image: Qcow2Image;
  readonly table: Buffer;
  readonly limitBytes: number;
}

/** Finds the topmost image that has data for the cluster. */
function lookUp(layers: readonly Layer[], cluster: number, offset: number) {
  for (const { image, table, limitBytes } of layers) {
    if (offset >= limitBytes) return undefined;
    const entry = image.clusterAt(table, cluster);
    if (entry === ClusterState.ZERO) return undefined;
    if (entry !== ClusterState.UNALLOCATED) return { image, fileOffset: entry };
  }
  return undefined;
}

function continues(run: ChainRun, next: ChainRun): boolean {
  return run.image === next.image && (run.image === undefined || run.fileOffset + run.length === next.fileOffset);
}

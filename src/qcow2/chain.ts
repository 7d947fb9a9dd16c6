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

/** An image and its backing files, with the top image first: all of them, or those above one of them. */
export class Qcow2Chain implements AsyncDisposable {
  private constructor(
    readonly images: readonly Qcow2Image[],
    private readonly isWhole: boolean,
  ) {}

  /**
   * Opens the image at `path` and its backing files: all of them, or with `above` those above the one with this name.
   * @throws Qcow2Error and system errors
   */
  static async open(path: string, above?: string): Promise<Qcow2Chain> {
    const chain = new Qcow2Chain([], above === undefined);
    const images = chain.images as Qcow2Image[];
    try {
      for (let next: string | undefined = path; next !== undefined; ) {
        if (images.length === MAX_IMAGES)
          throw new Qcow2Error(path, `its chain of backing files has more than ${MAX_IMAGES} images, or is a cycle`);
        const image: Qcow2Image = await Qcow2Image.open(next);
        images.push(image);
        if (above !== undefined && image.backingName === undefined)
          throw new Qcow2Error(path, `${above} is not in its chain of backing files`);
        next = image.backingName === above ? undefined : join(dirname(next), image.backingName!);
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

  /**
   * The disk by ascending offset: all of it, or of the images above another one what they have, without what they leave
   * to the images below. Adjacent runs that are also adjacent in one image are merged.
   */
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
    const add = (next: ChainRun) => {
      const last = runs.at(-1);
      if (last && continues(last, next)) last.length += next.length;
      else runs.push(next);
    };
    for (let at = start, cluster = 0; at < end && cluster < L2_ENTRIES; at += CLUSTER_BYTES, cluster++) {
      const length = Math.min(CLUSTER_BYTES, end - at);
      const { image, fileOffset, limitBytes } = lookUp(layers, cluster, at);
      if (image === 'below') continue;
      // A smaller image above it can end within the cluster. After the end of the image itself there are only zeroes.
      const visible = image && image.sizeBytes > limitBytes ? Math.min(length, limitBytes - at) : length;
      add({ offset: at, length: visible, image, fileOffset });
      if (visible < length) add({ ...zeroes, offset: at + visible, length: length - visible });
    }
    return runs;
  }

  /** What each image has for an L2 table, and what lies below all of them. */
  private async layersOf(index: number): Promise<Layer[]> {
    const layers: Layer[] = [];
    let limitBytes = this.sizeBytes;
    for (const image of this.images) {
      // Beyond the end of a smaller image, the images below it are not visible.
      limitBytes = Math.min(limitBytes, image.sizeBytes);
      const table = await image.readL2(index);
      if (table) layers.push({ image, table, limitBytes });
    }
    if (!this.isWhole) layers.push({ image: 'below', table: undefined, limitBytes });
    return layers;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.images.map((image) => image[Symbol.asyncDispose]()));
  }
}

type Layer =
  | { readonly image: Qcow2Image; readonly table: Buffer; readonly limitBytes: number }
  | { readonly image: 'below'; readonly table: undefined; readonly limitBytes: number };

const zeroes = { image: undefined, fileOffset: 0 };

/** Finds the topmost image that has data for the cluster. */
function lookUp(layers: readonly Layer[], cluster: number, offset: number) {
  for (const { image, table, limitBytes } of layers) {
    if (offset >= limitBytes) break;
    if (image === 'below') return { image, fileOffset: 0, limitBytes };
    const entry = image.clusterAt(table, cluster);
    if (entry === ClusterState.ZERO) break;
    if (entry !== ClusterState.UNALLOCATED) return { image, fileOffset: entry, limitBytes };
  }
  return { ...zeroes, limitBytes: 0 };
}

function continues(run: ChainRun, next: ChainRun): boolean {
  if (run.offset + run.length !== next.offset || run.image !== next.image) return false;
  return run.image === undefined || run.fileOffset + run.length === next.fileOffset;
}

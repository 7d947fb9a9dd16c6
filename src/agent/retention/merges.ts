import { CLUSTER_BYTES } from '../../qcow2/clusters.js';
import { chainOf } from '../manifest-chain.js';
import type { ImageEntry } from '../manifest-format.js';

/** An image that has to be rewritten, because the image below it is dropped. */
export interface PlannedMerge {
  readonly image: ImageEntry;
  /** The nearest image below it that is kept; null if it becomes a full image. */
  readonly onto: ImageEntry | null;
  /** The image and the dropped ones that are merged into it, from the top down. */
  readonly run: readonly ImageEntry[];
}

/**
 * The merges that are needed before all images but the kept ones can be dropped, in the order of the images. Each of
 * them can be made without the others. Images whose chain is not complete are left out.
 */
export function planMerges(images: readonly ImageEntry[], kept: ReadonlySet<string>): PlannedMerge[] {
  const merges: PlannedMerge[] = [];
  for (const image of images) {
    if (!kept.has(image.id) || image.base === null || kept.has(image.base)) continue;
    const { chain, missing } = chainOf(images, image);
    const end = chain.findIndex((one) => one !== image && kept.has(one.id));
    if (end === -1 && missing !== undefined) continue;
    merges.push({ image, onto: chain[end] ?? null, run: end === -1 ? chain : chain.slice(0, end) });
  }
  return merges;
}

/** The images that neither are kept nor lie below one that is. */
export function unneeded(images: readonly ImageEntry[], kept: ReadonlySet<string>): ImageEntry[] {
  const byId = new Map(images.map((image) => [image.id, image]));
  const needed = new Set<ImageEntry>();
  for (const { id } of images) {
    let next = kept.has(id) ? byId.get(id) : undefined;
    for (; next && !needed.has(next); next = next.base === null ? undefined : byId.get(next.base)) needed.add(next);
  }
  return images.filter((image) => !needed.has(image));
}

/**
 * Why images cannot be merged, judged by the sizes of their disks; undefined if they can. Where a disk shrank to a part
 * of a cluster and grew again, that cluster would have to be put together from two images.
 */
export function whyUnfit({ run, onto }: PlannedMerge): string | undefined {
  let limitBytes = run[0]!.sizeBytes;
  for (const [index, { id, sizeBytes }] of run.entries()) {
    if (sizeBytes >= limitBytes) continue;
    limitBytes = sizeBytes;
    const below = [...run.slice(index + 1), ...(onto ? [onto] : [])];
    if (limitBytes % CLUSTER_BYTES === 0 || below.every((image) => image.sizeBytes <= limitBytes)) continue;
    return `${id} cannot be merged: the disk shrank to ${sizeBytes} bytes, not a multiple of 64 KiB, and grew again`;
  }
  return undefined;
}

/** How much room the merged image can take: the data of all images that it is made from. */
export function estimateBytes({ image, run }: PlannedMerge): number {
  const dataBytes = run.reduce((sum, one) => sum + one.dataBytes, 0);
  return Math.min(dataBytes, image.sizeBytes);
}

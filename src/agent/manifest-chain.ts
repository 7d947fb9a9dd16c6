import type { ImageEntry } from './manifest-format.js';

/** An image and the images below it, from the top down. `missing` is the first one that is not there. */
export function chainOf(images: readonly ImageEntry[], top: ImageEntry): { chain: ImageEntry[]; missing?: string } {
  const byId = new Map(images.map((image) => [image.id, image]));
  const chain = new Set([top]);
  for (let { base } = top; base !== null; ) {
    const below = byId.get(base);
    if (!below || chain.has(below)) return { chain: [...chain], missing: base };
    chain.add(below);
    base = below.base;
  }
  return { chain: [...chain] };
}

/** Whether an image depends on an asserted base: its own, or one further down before the first proven image. */
export function restsOnWord(images: readonly ImageEntry[], top: ImageEntry): boolean {
  for (const { proven, baseAsserted } of chainOf(images, top).chain) {
    if (proven) return false;
    if (baseAsserted) return true;
  }
  return false;
}

/** The IDs of all images for which `restsOnWord` is true. Each image has to come after its base. */
export function idsOnWord(images: readonly ImageEntry[]): ReadonlySet<string> {
  const ids = new Set<string>();
  for (const { id, base, proven, baseAsserted } of images) {
    if (!proven && (baseAsserted || (base !== null && ids.has(base)))) ids.add(id);
  }
  return ids;
}

/**
 * Says what is wrong with the images below an image, by what is known of these restore points; undefined if nothing is.
 */
export function findBroken(
  { base }: ImageEntry,
  points: ReadonlyMap<string, { readonly problem: string | null }>,
): string | undefined {
  if (base === null) return undefined;
  const below = points.get(base);
  if (!below) return `the image below, ${base}, is not in the manifest`;
  return below.problem === null ? undefined : `needs ${base}, which is not good`;
}

/** The size of the files of images. */
export function bytesOf(images: Iterable<ImageEntry>): number {
  let bytes = 0;
  for (const { fileBytes } of images) bytes += fileBytes;
  return bytes;
}

import type { ImageEntry } from './manifest-format.js';

/** An image and the images below it, from the top down. `missing` is the first one that is not there. */
export function chainOf(images: readonly ImageEntry[], top: ImageEntry): { chain: ImageEntry[]; missing?: string } {
  const chain = [top];
  for (let base = top.base; base !== null; base = chain.at(-1)!.base) {
    const below = images.find(({ id }) => id === base);
    if (!below || chain.includes(below)) return { chain, missing: base };
    chain.push(below);
  }
  return { chain };
}

/** Whether an image depends on an asserted base: its own, or one further down before the first proven image. */
export function restsOnWord(images: readonly ImageEntry[], top: ImageEntry): boolean {
  for (const { proven, baseAsserted } of chainOf(images, top).chain) {
    if (proven) return false;
    if (baseAsserted) return true;
  }
  return false;
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

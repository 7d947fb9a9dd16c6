import type { ImageEntry } from './manifest-format.js';

/** An image and those that it lies on, from the top down; `missing` is the first below that is not there. */
export function chainOf(images: readonly ImageEntry[], top: ImageEntry): { chain: ImageEntry[]; missing?: string } {
  const chain = [top];
  for (let base = top.base; base !== null; base = chain.at(-1)!.base) {
    const below = images.find(({ id }) => id === base);
    if (!below || chain.includes(below)) return { chain, missing: base };
    chain.push(below);
  }
  return { chain };
}

/** Whether what an image has of the disk rests on somebody's word: from it down to the first that was proven. */
export function restsOnWord(images: readonly ImageEntry[], top: ImageEntry): boolean {
  for (const { proven, baseAsserted } of chainOf(images, top).chain) {
    if (proven) return false;
    if (baseAsserted) return true;
  }
  return false;
}

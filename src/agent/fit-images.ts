import { chainOf } from './manifest-chain.js';
import type { ImageEntry } from './manifest-format.js';

export interface FittedImages {
  /** The oldest first; each image comes after its base. */
  readonly images: readonly ImageEntry[];
  /** Images that need a missing image. */
  readonly unfit: readonly { readonly id: string; readonly missing: string }[];
}

/** Keeps the images whose chain is complete, in the order in which they were taken. */
export function fitImages(found: readonly ImageEntry[]): FittedImages {
  const unfit: { id: string; missing: string }[] = [];
  const fitting: ImageEntry[] = [];
  for (const image of found) {
    const { missing } = chainOf(found, image);
    if (missing === undefined) fitting.push(image);
    else unfit.push({ id: image.id, missing });
  }
  const ordered = new Set<ImageEntry>();
  for (const image of fitting.sort(byTime)) {
    // A clock that was set back must not put an image before its base.
    for (const below of chainOf(fitting, image).chain.reverse()) ordered.add(below);
  }
  return { images: [...ordered], unfit };
}

function byTime(one: ImageEntry, other: ImageEntry): number {
  const difference = Date.parse(one.takenAt) - Date.parse(other.takenAt);
  if (difference !== 0) return difference;
  return one.id < other.id ? -1 : 1;
}

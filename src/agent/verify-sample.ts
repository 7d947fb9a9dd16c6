import { bytesOf } from './manifest-chain.js';
import type { ImageEntry } from './manifest-format.js';

/**
 * The images of one export to read this time: those that were read the longest time ago, or never, until they make up
 * this share of the bytes of all. Each run takes the next ones, so after 100 / `percent` runs all were read. Images that
 * are known to be damaged are left out: reading them would keep the others waiting.
 */
export function chooseSample(images: readonly ImageEntry[], percent: number): ReadonlySet<ImageEntry> {
  const wantedBytes = (bytesOf(images) * percent) / 100;
  const oldestFirst = images.filter(({ damage }) => !damage).sort((one, other) => timeOf(one) - timeOf(other));
  const sample = new Set<ImageEntry>();
  let bytes = 0;
  for (const image of oldestFirst) {
    if (bytes >= wantedBytes) break;
    sample.add(image);
    bytes += image.fileBytes;
  }
  return sample;
}

/** When an image was last read; before all others if it never was, or if its time cannot be read. */
function timeOf({ checkedAt }: ImageEntry): number {
  const time = Date.parse(checkedAt ?? '');
  return Number.isNaN(time) ? 0 : time;
}

import { ExtentList } from '../../../src/base/extents.js';
import type { BitmapSet } from '../../../src/bitmap/bitmap-set.js';
import { SECTOR } from '../../support/power-loss.js';

/** What a bitmap must report, expressed as contents of the disk. */
export interface Epoch {
  /** Everything counts as changed that differs from this. */
  readonly base: Uint32Array;
  /** The content when the bitmap was frozen, if it is: the base after it has abdicated. */
  readonly frozen?: Uint32Array;
  /** The content when the bitmap was disabled, if it is: what was written later does not count. */
  readonly end?: Uint32Array;
}

/** The valid state, and the possible new state while a change is in progress or in doubt. */
export interface Truth {
  now: Epoch;
  next: Epoch | undefined;
}

/** Sectors that changed in the epoch and lie in granules that are clean. */
export function missed(bitmaps: BitmapSet, { base, end }: Epoch, found: Uint32Array): number[] {
  const list = new ExtentList(found.length);
  bitmaps.get('a').extents(0, found.length * SECTOR, list);
  const clean: number[] = [];
  let at = 0;
  list.lengths.forEach((length, i) => {
    for (const until = at + length; at < until; at += SECTOR) if (list.statuses[i] === 0) clean.push(at / SECTOR);
  });
  const content = end ?? found;
  return clean.filter((sector) => base[sector] !== content[sector]);
}

export function fits(bitmaps: BitmapSet, epoch: Epoch, found: Uint32Array): boolean {
  return bitmaps.get('a').recording === (epoch.end === undefined) && missed(bitmaps, epoch, found).length === 0;
}

import type { CommitPressure } from '../../src/bitmap/store/commit-pressure.js';
import type { LookAhead } from '../../src/bitmap/store/look-ahead.js';
import type { PersistentBitmaps } from '../../src/bitmap/store/persistent-bitmaps.js';
import type { Random } from './random.js';

/**
 * Makes a write-intent log on a small disk, with a clock that stands still, mark pieces, whole regions, or both by turns,
 * and mark ahead at random.
 */
export function varyMarks({ intents }: PersistentBitmaps, random: Random): void {
  const log = intents as unknown as { readonly pressure: CommitPressure; readonly lookAhead: LookAhead };
  const wholeOneIn = random.pick([0, 1, 3]);
  Object.defineProperty(log.pressure, 'isHigh', { get: () => wholeOneIn > 0 && random.chance(wholeOneIn) });
  log.lookAhead.note = ({ end }) => (random.chance(4) ? { from: end, end: end + 1 + random.below(16_384) } : undefined);
}

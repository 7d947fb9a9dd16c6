import { MAX_LATENCY_BOUNDS } from '../../api/values.js';
import { parseMilliseconds } from '../../base/units.js';

/** Bounds of latency histograms, in milliseconds, as a user writes them: `50us,1ms,1s`. Undefined if they are invalid. */
export function parseLatencyBounds(text: string): readonly number[] | undefined {
  const bounds = text.split(',').map((bound) => parseMilliseconds(bound) ?? 0);
  return areLatencyBounds(bounds) ? bounds : undefined;
}

/** Whether there are enough and not too many, all above 0, and each is above the one before. */
export function areLatencyBounds(bounds: readonly number[]): boolean {
  return (
    bounds.length >= 1 &&
    bounds.length <= MAX_LATENCY_BOUNDS &&
    bounds.every((bound, index) => Number.isFinite(bound) && bound > (bounds[index - 1] ?? 0))
  );
}

import type { Latency } from '../../api/statistics.js';

/**
 * The time that a share of the requests took at most, in seconds, as if those of a bin were spread evenly over it;
 * undefined if there were none. The last bin has no end, so what lies in it is taken for its beginning.
 */
export function percentile({ boundsSeconds, counts }: Latency, share: number): number | undefined {
  const all = counts.reduce((sum, count) => sum + count, 0);
  if (all === 0) return undefined;
  const wanted = share * all;
  let below = 0;
  for (const [bin, count] of counts.entries()) {
    if (count > 0 && below + count >= wanted) {
      const begin = bin === 0 ? 0 : boundsSeconds[bin - 1]!;
      const end = boundsSeconds[bin] ?? begin;
      return begin + ((wanted - below) / count) * (end - begin);
    }
    below += count;
  }
  return undefined;
}

/** The bound that no request took longer than, in seconds: Infinity if one lies in the last bin, undefined without any. */
export function upperBound({ boundsSeconds, counts }: Latency): number | undefined {
  const last = counts.findLastIndex((count) => count > 0);
  return last < 0 ? undefined : (boundsSeconds[last] ?? Number.POSITIVE_INFINITY);
}

const NONE = '-';

/** Seconds as a person reads them, in three digits: `52.1 µs`, `1.25 ms`, `3.2 s`. */
export function formatSeconds(seconds: number | undefined): string {
  if (seconds === undefined) return NONE;
  if (seconds === 0) return '0 µs';
  if (seconds < 0.0009995) return `${threeDigits(seconds * 1e6)} µs`;
  return seconds < 0.9995 ? `${threeDigits(seconds * 1e3)} ms` : `${threeDigits(seconds)} s`;
}

function threeDigits(value: number): string {
  return value >= 1000 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}

export interface Summary {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export function summarize(values: readonly number[]): Summary {
  const sorted = ascending(values);
  const middle = sorted.length / 2;
  const median = (sorted[Math.ceil(middle) - 1]! + sorted[Math.floor(middle)]!) / 2;
  return { median, min: sorted[0]!, max: sorted.at(-1)! };
}

/** The quantile of the normal distribution that leaves out 5 per cent, half of them on either side. */
const Z_95 = 1.96;

/**
 * Between what values the median lies of that from which these are samples: with 95 per cent confidence, from the ranks
 * of the values alone, so whatever their distribution. Fewer than six values give all that they have, and less confidence.
 */
export function medianInterval(values: readonly number[]): { readonly from: number; readonly to: number } {
  const sorted = ascending(values);
  const below = Math.floor((sorted.length - Z_95 * Math.sqrt(sorted.length)) / 2) - 1;
  const first = Math.max(below, 0);
  return { from: sorted[first]!, to: sorted[sorted.length - 1 - first]! };
}

function ascending(values: readonly number[]): number[] {
  return [...values].sort((a, b) => a - b);
}

import { pairedRatio, type Ratio, summarize } from '../statistics.js';

/** The median, with minimum and maximum in brackets. */
export function spread(values: readonly number[]): string {
  const { median, min, max } = summarize(values);
  return `${short(median)} (${short(min)}–${short(max)})`;
}

/** A ratio with its confidence interval. */
export function interval({ median, from, to }: Ratio): string {
  return `**${median.toFixed(2)}** (${from.toFixed(2)}–${to.toFixed(2)})`;
}

/** The paired ratio with its confidence interval. */
export function certain(figures: readonly number[], others: readonly number[]): string {
  return interval(pairedRatio(figures, others));
}

function short(value: number): string {
  return value.toFixed(value < 100 ? 1 : 0);
}

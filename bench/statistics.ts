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

/** The part of cases in which the median may lie below the interval, and in which it may lie above it. */
const TAIL = 0.025;

/**
 * The 95 % confidence interval of the median, for any distribution: how many samples lie below the median is a number of
 * heads in as many tosses of a coin. Fewer than six samples give their whole range, with less confidence.
 */
function medianInterval(values: readonly number[]): { readonly from: number; readonly to: number } {
  const sorted = ascending(values);
  const count = sorted.length;
  let below = 0;
  let probability = 0.5 ** count;
  for (let sum = probability; sum <= TAIL; sum += probability) {
    below++;
    probability *= (count - below + 1) / below;
  }
  const first = Math.max(below - 1, 0);
  return { from: sorted[first]!, to: sorted[count - 1 - first]! };
}

export interface Ratio {
  readonly median: number;
  /** Its 95 % confidence interval. */
  readonly from: number;
  readonly to: number;
}

/**
 * The median of the ratios of figures that were measured one after the other, and its confidence interval: the speed of
 * a machine varies over time, and both figures of a pair have the same share of it.
 */
export function pairedRatio(figures: readonly number[], others: readonly number[]): Ratio {
  const ratios = figures.map((figure, turn) => figure / others[turn]!);
  return { median: summarize(ratios).median, ...medianInterval(ratios) };
}

/** The paired ratio to the rival with which it is worst: the lowest if more is better, else the highest. */
export function worstRatio<Name>(
  figures: readonly number[],
  rivals: ReadonlyMap<Name, readonly number[]>,
  better: 'more' | 'less',
): (Ratio & { readonly rival: Name }) | undefined {
  const ratios = [...rivals].map(([rival, others]) => ({ rival, ...pairedRatio(figures, others) }));
  const direction = better === 'more' ? 1 : -1;
  return ratios.sort((a, b) => direction * (a.median - b.median))[0];
}

/**
 * The order in which to measure in one turn, because an item may suffer from what the one before it left behind. The
 * direction changes with every turn, and the first item with every second one.
 */
export function inTurn<T>(items: readonly T[], turn: number): T[] {
  const first = Math.floor(turn / 2);
  const order = items.map((_, place) => items[(place + first) % items.length]!);
  return turn % 2 === 0 ? order : order.reverse();
}

function ascending(values: readonly number[]): number[] {
  return [...values].sort((a, b) => a - b);
}

import type { CostResult } from '../bitmap-cost.js';
import { paragraph, table } from '../markdown.js';
import type { BenchOptions } from '../options.js';
import { bitmapModes } from '../servers.js';
import { pairedRatio } from '../statistics.js';
import { interval, spread } from './cells.js';
import type { Goals } from './goals.js';

export function costSection(results: readonly CostResult[], { seconds }: BenchOptions, goals: Goals): string {
  const rows = results.map((result) => [
    result.place,
    `${result.step.title} (${result.step.unit})`,
    ...bitmapModes.map((mode) => spread(result.figures.get(mode)!)),
    ...ratioCells(result, goals),
  ]);
  return [
    '## What bitmaps cost',
    paragraph(`One tidemark serves a disk of 4 GiB. Both the disk and the state are in tmpfs, or both are on the disk. The steps run
${results[0]!.figures.get('off')!.length} times with two bitmaps in the store, with two in memory only, and with none, each time on a freshly
started server. A first pass begins with clean bitmaps; every other step runs for ${seconds} s after 1 s of warm-up. The
ratio compares bitmaps in the store to none. It is the median of the ratios of consecutive runs, because the speed of
the machine varies over time; in brackets, the 95 % confidence interval.`),
    table(['', '', ...bitmapModes, 'ratio', 'goal'], rows),
  ].join('\n\n');
}

function ratioCells({ place, step, figures }: CostResult, goals: Goals): string[] {
  const ratio = pairedRatio(figures.get('persistent')!, figures.get('off')!);
  const line = `bitmaps in the store, ${place}: ${step.title}`;
  return goals.cells(line, ratio.median, interval(ratio), { atLeast: step.goal });
}

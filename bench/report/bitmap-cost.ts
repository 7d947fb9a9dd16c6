import type { CostResult } from '../bitmap-cost.js';
import { paragraph, table } from '../markdown.js';
import type { BenchOptions } from '../options.js';
import { bitmapModes } from '../servers.js';
import { pairedRatio } from '../statistics.js';
import { interval, spread } from './cells.js';
import type { Goals } from './goals.js';

/** `results` is not empty. */
export function costSection(results: readonly CostResult[], { seconds }: BenchOptions, goals: Goals): string {
  const lines = results.flatMap(({ figures }) => figures);
  const rows = lines.map(({ figure: { title, goal }, values }) => {
    const ratio = pairedRatio(values.get('persistent')!, values.get('off')!);
    return [
      title,
      ...bitmapModes.map((mode) => spread(values.get(mode)!)),
      ...goals.cells(`with bitmaps, ${title}`, ratio.median, interval(ratio), goal),
    ];
  });
  return [
    '## What bitmaps cost',
    paragraph(`One tidemark serves a disk of 4 GiB in tmpfs; its state is on a disk. The steps run
${lines[0]!.values.get('off')!.length} times with two bitmaps in the store and with none, on freshly started servers. A first pass begins with
clean bitmaps, and each random write is to another granule. The steps "afterwards" run for ${seconds} s. The ratio compares
bitmaps in the store to none. It is the median of the ratios of consecutive runs; in brackets, the 95 % confidence
interval.`),
    table(['', ...bitmapModes, 'ratio', 'goal'], rows),
  ].join('\n\n');
}

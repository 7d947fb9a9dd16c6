import { formatSize } from '../../src/base/units.js';
import type { CrashResult } from '../crash.js';
import { paragraph, table } from '../markdown.js';

export function crashSection(results: readonly CrashResult[]): string {
  const rows = results.map(({ title, trueBytes, reportedBytes }) => [
    title,
    formatSize(trueBytes),
    formatSize(reportedBytes),
    `${((100 * reportedBytes) / trueBytes - 100).toFixed(1)} %`,
  ]);
  return [
    '## What a crash adds',
    paragraph(`A new disk of 4 GiB is written for 10 s, then the server is killed and started again. Everything that was written is
dirty. How much more is dirty depends on how many regions of 16 MiB were written in the last seconds.`),
    table(['under way', 'written (in granules)', 'dirty after the crash', 'more'], rows),
  ].join('\n\n');
}

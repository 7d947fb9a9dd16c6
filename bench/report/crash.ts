import { formatSize } from '../../src/base/units.js';
import type { CrashResult } from '../crash.js';
import { paragraph, table } from '../markdown.js';
import type { Goals } from './goals.js';

export function crashSection(results: readonly CrashResult[], goals: Goals): string {
  const rows = results.map(({ title, trueBytes, reportedBytes, goal }) => {
    const ratio = reportedBytes / trueBytes;
    return [
      title,
      formatSize(trueBytes),
      formatSize(reportedBytes),
      ...goals.cells(`dirty after a crash, ${title}`, ratio, `**${ratio.toFixed(2)}**`, goal),
    ];
  });
  return [
    '## What a crash adds',
    paragraph(`A new disk of 4 GiB is written for 10 s, then the server is killed and started again. Everything that was written is
dirty. The ratio says how much more is dirty. It is larger when commits of the store take longer, because then whole
regions of 16 MiB are marked instead of granules, or marks are set further ahead.`),
    table(['under way', 'written (in granules)', 'dirty after the crash', 'ratio', 'goal'], rows),
  ].join('\n\n');
}

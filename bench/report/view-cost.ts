import { KIB } from '../../src/base/units.js';
import { paragraph, table } from '../markdown.js';
import { pairedRatio } from '../statistics.js';
import type { ViewResult } from '../view-cost.js';
import { WRITTEN_RATE_BYTES } from '../view-reads.js';
import { interval, spread } from './cells.js';
import type { Goal, Goals } from './goals.js';

const FIRST_PASS_GOAL = { atLeast: 0.7 } as const;
const QEMU_GOAL = { atLeast: 3 } as const;
const READS_GOAL = { atLeast: 0.8 } as const;

export function viewSection({ noView, view, qemuFirstPass, reads, pauses, sparse }: ViewResult, goals: Goals): string {
  const compare = (line: string, figures: readonly number[], others: readonly number[], goal?: Goal) => {
    const ratio = pairedRatio(figures, others);
    return [line, spread(others), spread(figures), ...goals.cells(line, ratio.median, interval(ratio), goal)];
  };
  const first = 'random writes with a view, first pass: nearly each one copies old data';
  const waits = pauses.map(({ exports, p99Milliseconds, maxMilliseconds, bytesPerView }) => [
    String(exports),
    spread(p99Milliseconds),
    spread(maxMilliseconds),
    (bytesPerView / KIB).toFixed(0),
  ]);
  return [
    '## What a view costs',
    paragraph(`Random writes of 4 KiB, depth 32, to a disk of 1 GiB in tmpfs that is all dirty already, with and without the view of a
backup open (kIOPS). The scratch is in tmpfs too. QEMU's filter copy-before-write has clusters of 64 KiB; its target is in tmpfs.`),
    table(
      ['', 'no view, or QEMU', 'a view', 'ratio', 'goal'],
      [
        compare(first, view.firstPass, noView.firstPass, FIRST_PASS_GOAL),
        compare('the same, beside QEMU with its filter', view.firstPass, qemuFirstPass, QEMU_GOAL),
        compare('afterwards: everything is copied already', view.afterwards, noView.afterwards),
      ],
    ),
    paragraph(`A view is read, and the disk itself, while another client writes ${WRITTEN_RATE_BYTES / 1e6} MB a second to the disk, 4 KiB at
random. The view is open both times.`),
    table(
      ['', 'the disk', 'the view', 'ratio', 'goal'],
      reads.map(({ title, ...read }) => compare(`a view that is written, ${title}`, read.view, read.disk, READS_GOAL)),
    ),
    paragraph(`How long writes waited while a backup of some exports began (ms, 20 times, with writes to up to 4 of the exports), and
the memory that one view of 32 MiB took.`),
    table(['exports', 'p99 of the writes held', 'longest', 'memory (KiB a view)'], waits),
    paragraph(`A sparse disk of 100 GiB with 1 GiB dirty: the begin took ${spread(sparse.beginMilliseconds)} ms, and the
first extents came ${spread(sparse.firstExtentsMilliseconds)} ms later.`),
  ].join('\n\n');
}

import { KIB } from '../../src/base/units.js';
import { paragraph, table } from '../markdown.js';
import { summarize } from '../statistics.js';
import type { ViewResult } from '../view-cost.js';
import { spread } from './cells.js';

export function viewSection({ noView, view, qemuFirstPass, pauses, sparse }: ViewResult): string {
  const ratio = (one: readonly number[], other: readonly number[]) => summarize(one).median / summarize(other).median;
  const writes = (['firstPass', 'afterwards'] as const).map((pass) => [
    pass === 'firstPass' ? 'first pass: nearly each write copies old data' : 'afterwards: everything is copied already',
    spread(noView[pass]),
    spread(view[pass]),
    `**${ratio(view[pass], noView[pass]).toFixed(2)}**`,
  ]);
  const waits = pauses.map(({ exports, p99Milliseconds, maxMilliseconds, bytesPerView }) => [
    String(exports),
    spread(p99Milliseconds),
    spread(maxMilliseconds),
    (bytesPerView / KIB).toFixed(0),
  ]);
  return [
    '## What a view costs',
    paragraph(`Random writes of 4 KiB, depth 32, to a disk of 1 GiB in tmpfs that is all dirty already, with and without the view of a
backup open (kIOPS). The scratch is in tmpfs too.`),
    table(['', 'no view', 'a view', 'ratio'], writes),
    paragraph(`QEMU's filter copy-before-write, whose clusters have 64 KiB, made ${spread(qemuFirstPass)} kIOPS in the first pass, so
a view of tidemark is **${ratio(view.firstPass, qemuFirstPass).toFixed(1)}** times as fast.`),
    paragraph(`How long writes waited while a backup of some exports began (ms, 20 times, with writes to up to 4 of the exports), and
the memory that one view of 32 MiB took.`),
    table(['exports', 'p99 of the writes held', 'longest', 'memory (KiB a view)'], waits),
    paragraph(`A sparse disk of 100 GiB with 1 GiB dirty: the begin took ${spread(sparse.beginMilliseconds)} ms, and the
first extents came ${spread(sparse.firstExtentsMilliseconds)} ms later.`),
  ].join('\n\n');
}

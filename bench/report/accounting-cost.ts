import type { AccountingCost } from '../accounting-cost.js';
import { paragraph, table } from '../markdown.js';
import { summarize } from '../statistics.js';
import { spread } from './cells.js';
import type { Goals } from './goals.js';

export function accountingSection(costs: readonly AccountingCost[], goals: Goals): string {
  const rows = costs.map(({ size: { requests, goal }, nanoseconds }) => [
    String(requests),
    ...goals.cells(
      `accounting, ${requests} requests in a pass`,
      summarize(nanoseconds).median,
      spread(nanoseconds),
      goal,
    ),
  ]);
  return [
    '## What accounting costs',
    paragraph(`The server counts each request, its bytes and its latency. That takes so many nanoseconds for each request,
when so many are served in one pass over what a client has sent; the time is taken once for a pass. The goals are 2 % of the
processor time of a request: 30 µs for one that comes alone, and 3.4 µs for the fastest, of which several come together.`),
    table(['requests in a pass', 'ns for each', 'goal'], rows),
  ].join('\n\n');
}

import { expect, test } from 'vitest';
import { parseOptions } from '../../bench/options.js';

const parse = (...args: string[]) => parseOptions(['node', 'bench', ...args]);

test('a run without options measures everything and writes the page', () => {
  const { parts, cases, output, rounds } = parse();
  expect(parts).toEqual([
    'single',
    'connections',
    'exports',
    'tls',
    'idle',
    'cold',
    'cost',
    'accounting',
    'crash',
    'start',
    'view',
    'pull',
  ]);
  expect([cases.length, output]).toEqual([24, 'docs/benchmarks.md']);
  expect(rounds).toBeGreaterThanOrEqual(6);
});

test('a quick run measures the cases with one connection on all servers, and writes no page', () => {
  const { parts, cases, servers, output } = parse('--quick');
  expect([parts, cases.length, servers.length, output]).toEqual([['single'], 6, 4, undefined]);
});

test.each([
  { only: ['connections'], parts: ['connections'], cases: 8 },
  { only: ['randwrite-c16'], parts: ['connections'], cases: 1 },
  { only: ['exports', 'randread-1', 'view'], parts: ['single', 'exports', 'view'], cases: 5 },
  { only: ['tidemark', 'single'], parts: ['single'], cases: 6 },
])('--only $only leaves the parts $parts', ({ only, parts, cases }) => {
  const options = parse('--only', ...only);
  expect([options.parts, options.cases.length]).toEqual([parts, cases]);
});

test('parts that measure tidemark are left out without it', () => {
  expect(parse('--only', 'nbdkit').parts).toEqual(['single', 'connections', 'exports', 'tls', 'idle']);
});

import { describe, expect, test } from 'vitest';
import { type ComparedLine, comparisonTable } from '../../bench/report/comparison.js';
import { Goals } from '../../bench/report/goals.js';
import type { ServerName } from '../../bench/servers.js';
import { worstRatio } from '../../bench/statistics.js';

const line = (figures: Partial<Record<ServerName, number[]>>, rest: Partial<ComparedLine> = {}): ComparedLine => ({
  ...{ title: 'reads', better: 'more', goal: { atLeast: 1.1 } },
  figures: new Map(Object.entries(figures) as [ServerName, number[]][]),
  ...rest,
});
/** The cells of each line, without the two of the header. */
const cellsOf = (lines: readonly ComparedLine[], goals = new Goals()) =>
  comparisonTable(lines, goals)
    .split('\n')
    .map((row) => row.slice(2, -2).split(' | '))
    .filter((_, index) => index !== 1);

describe('the ratio to the others', () => {
  const rivals = new Map([
    ['slow', [100, 100, 100]],
    ['fast', [200, 100, 400]],
  ]);

  test('is the lowest where more is better', () => {
    expect(worstRatio([200, 200, 200], rivals, 'more')).toEqual({ rival: 'fast', median: 1, from: 0.5, to: 2 });
  });

  test('is the highest where less is better', () => {
    expect(worstRatio([200, 200, 200], rivals, 'less')).toEqual({ rival: 'slow', median: 2, from: 2, to: 2 });
  });

  test('does not exist without others', () => {
    expect(worstRatio([1], new Map(), 'more')).toBeUndefined();
  });
});

test('a line names the server that compares best, and says that it misses its goal', () => {
  const goals = new Goals();
  const figures = { tidemark: [100, 104], 'qemu-nbd': [50, 50], nbdkit: [100, 104] };
  expect(cellsOf([line(figures)], goals)).toEqual([
    ['', 'tidemark', 'qemu-nbd', 'nbdkit', 'ratio', 'goal'],
    [
      ...['reads', '102 (100–104)', '50.0 (50.0–50.0)', '102 (100–104)'],
      ...['**1.00** (1.00–1.00) of nbdkit, misses 1.1', '≥ 1.1'],
    ],
  ]);
  expect(goals.summary()[0]).toMatch(/^0 of 1 /);
});

test('another build has a ratio of its own, and is no rival', () => {
  const figures = { tidemark: [100], before: [200], nbdkit: [50] };
  const [header, cells] = cellsOf([line(figures)]);
  expect(header!.slice(-3)).toEqual(['tidemark/before', 'ratio', 'goal']);
  expect(cells!.slice(-3)).toEqual(['**0.50** (0.50–0.50)', '**2.00** (2.00–2.00) of nbdkit', '≥ 1.1']);
});

test('a line without tidemark or without others has no ratio, and does not count', () => {
  for (const figures of [{ nbdkit: [50], 'qemu-nbd': [40] }, { tidemark: [50] }]) {
    const goals = new Goals();
    expect(cellsOf([line(figures)], goals)[1]!.slice(-2)).toEqual(['-', '-']);
    expect(goals.summary()).toEqual([]);
  }
});

test('less processor time is better', () => {
  const figures = { tidemark: [5], nbdkit: [10], 'nbd-server': [8] };
  const [, cells] = cellsOf([line(figures, { better: 'less', goal: { atMost: 0.7 } })]);
  expect(cells!.slice(-2)).toEqual(['**0.63** (0.63–0.63) of nbd-server', '≤ 0.7']);
});

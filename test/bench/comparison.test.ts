import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parseOptions } from '../../bench/options.js';
import { inTurn, pairedRatio } from '../../bench/statistics.js';
import { scratchFolder } from '../support/scratch-folder.js';

describe('the order of servers', () => {
  test.each([2, 3, 5])(
    'puts each of %i first equally often, and before each other one as often as after it',
    (count) => {
      const servers = Array.from({ length: count }, (_, server) => server);
      const turns = Array.from({ length: 2 * count }, (_, turn) => inTurn(servers, turn));
      for (const server of servers) expect(turns.filter(([first]) => first === server)).toHaveLength(2);
      const before = turns.filter((order) => order.indexOf(0) < order.indexOf(1));
      expect(before).toHaveLength(count);
    },
  );
});

describe('the ratio of two builds', () => {
  test('compares the figures of the same round, so that a machine that becomes slower does not matter', () => {
    expect(pairedRatio([200, 100, 50], [100, 50, 25])).toEqual({ median: 2, from: 2, to: 2 });
  });

  // The ranks are those of published tables for the median.
  test.each([
    [5, 1, 5],
    [6, 1, 6],
    [9, 2, 8],
    [10, 2, 9],
    [20, 6, 15],
    [50, 18, 33],
  ])('over %i rounds has a confidence interval from rank %i to rank %i', (rounds, from, to) => {
    const ratios = Array.from({ length: rounds }, (_, round) => round + 1);
    expect(pairedRatio(ratios, Array(rounds).fill(1))).toEqual({ median: (rounds + 1) / 2, from, to });
  });
});

describe('--beside', () => {
  const parse = (...args: string[]) => parseOptions(['node', 'bench', ...args]);

  test('measures the build of another checkout in all cases, and no parts unless they are named', () => {
    const checkout = scratchFolder();
    mkdirSync(join(checkout, 'dist'));
    writeFileSync(join(checkout, 'dist/main.js'), '');
    const { servers, before, cases, parts, output } = parse('--beside', checkout);
    expect(servers).toEqual(['tidemark', 'before', 'qemu-nbd', 'nbdkit', 'nbd-server']);
    expect(before).toBe(join(checkout, 'dist/main.js'));
    expect([cases.length, parts, output]).toEqual([24, ['single', 'connections', 'exports', 'tls'], undefined]);
    expect(parse('--beside', checkout, '--only', 'before', 'tidemark').servers).toEqual(['tidemark', 'before']);
    expect(parse('--beside', checkout, '--only', 'view').parts).toEqual(['view']);
  });

  test('is needed for a server before', () => {
    expect(parse().servers).not.toContain('before');
  });
});

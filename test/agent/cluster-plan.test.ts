import { expect, test } from 'vitest';
import { ClusterJoiner, type ClusterRun, planClusters, type StatusPiece } from '../../src/agent/cluster-plan.js';
import { BugError } from '../../src/base/assert.js';
import { ExtentList } from '../../src/base/extents.js';
import { BASE_ALLOCATION } from '../../src/base/metadata-contexts.js';
import { KIB } from '../../src/base/units.js';
import { Random, testSeed } from '../support/random.js';

const CLUSTER = 64 * KIB;
const SECTOR = 512;

function runsOf(sizeBytes: number, pieces: readonly StatusPiece[]) {
  const joiner = new ClusterJoiner(sizeBytes);
  const runs = pieces.flatMap((piece) => [...joiner.add(piece)]);
  return [...runs, ...joiner.end()];
}

function piece(offset: number, length: number, dirty: boolean, zero: boolean): StatusPiece {
  return { offset, length, dirty, zero };
}

test('one dirty byte makes a cluster dirty; a cluster is zero only if all of it is', () => {
  const runs = runsOf(4 * CLUSTER, [
    piece(0, 100 * SECTOR, false, true),
    piece(100 * SECTOR, SECTOR, true, true),
    piece(101 * SECTOR, CLUSTER - 101 * SECTOR, false, true),
    piece(CLUSTER, SECTOR, true, false),
    piece(CLUSTER + SECTOR, 3 * CLUSTER - SECTOR, false, true),
  ]);
  expect(runs).toEqual([
    { offset: 0, length: CLUSTER, kind: 'zero' },
    { offset: CLUSTER, length: CLUSTER, kind: 'data' },
    { offset: 2 * CLUSTER, length: 2 * CLUSTER, kind: 'skip' },
  ]);
});

test('the last cluster ends with the disk', () => {
  const size = 2 * CLUSTER + 3 * SECTOR;
  expect(runsOf(size, [piece(0, size, true, false)])).toEqual([{ offset: 0, length: size, kind: 'data' }]);
  expect(runsOf(size, [piece(0, size - SECTOR, false, false), piece(size - SECTOR, SECTOR, true, false)])).toEqual([
    { offset: 0, length: 2 * CLUSTER, kind: 'skip' },
    { offset: 2 * CLUSTER, length: 3 * SECTOR, kind: 'data' },
  ]);
});

test('random pieces give the same plan as checking every sector', () => {
  const random = new Random(testSeed());
  for (let round = 0; round < 50; round++) {
    const sectors = 128 * (1 + random.below(8)) + random.below(128);
    const pieces: StatusPiece[] = [];
    for (let at = 0; at < sectors; ) {
      const length = Math.min(sectors - at, 1 + random.below(random.pick([3, 200, 700])));
      pieces.push(piece(at * SECTOR, length * SECTOR, random.chance(2), random.chance(2)));
      at += length;
    }
    const kinds = Array.from({ length: Math.ceil(sectors / 128) }, (_, cluster) => {
      const inside = pieces.filter(
        ({ offset, length }) => offset < (cluster + 1) * CLUSTER && offset + length > cluster * CLUSTER,
      );
      if (!inside.some(({ dirty }) => dirty)) return 'skip';
      return inside.every(({ zero }) => zero) ? 'zero' : 'data';
    });
    const runs = runsOf(sectors * SECTOR, pieces);
    const seen = runs.flatMap(({ length, kind }) => Array(Math.ceil(length / CLUSTER)).fill(kind));
    expect(seen, `seed ${random.seed}`).toEqual(kinds);
    expect(runs.reduce((sum, { length }) => sum + length, 0)).toBe(sectors * SECTOR);
  }
});

test.each([
  ['the dirty bitmap', CLUSTER, 2 * CLUSTER],
  ['the allocation', 2 * CLUSTER, CLUSTER],
])('a plan fails, rather than leave data unread, if %s does not cover all of a window', async (_what, dirty, zero) => {
  const listOf = (bytes: number) => {
    const list = new ExtentList(1);
    list.add(bytes, 0);
    return list;
  };
  async function* extents() {
    const lists = new Map([
      ['d', listOf(dirty)],
      [BASE_ALLOCATION, listOf(zero)],
    ]);
    yield { offset: 0, length: 2 * CLUSTER, extents: lists };
  }
  const plan = async () => {
    const runs: ClusterRun[] = [];
    for await (const run of planClusters({ sizeBytes: 2 * CLUSTER, extents }, 'd')) runs.push(run);
    return runs;
  };
  await expect(plan()).rejects.toThrow(BugError);
});

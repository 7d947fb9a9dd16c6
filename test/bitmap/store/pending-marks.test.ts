import { expect, test } from 'vitest';
import { EIO, type Errno, OK } from '../../../src/base/errno.js';
import { KIB, MIB } from '../../../src/base/units.js';
import { PendingMarks } from '../../../src/bitmap/store/pending-marks.js';
import { RegionMark } from '../../../src/bitmap/store/region-mark.js';

const PIECE = 64 * KIB;

/** A commit that ends when the test says so. */
interface Commit {
  /** What it names: the region and the range of each part. */
  readonly take: () => readonly string[];
  readonly end: (errno: Errno) => void;
  readonly fail: (error: Error) => void;
}

const partsOf = (marks: ReadonlyMap<number, RegionMark>) =>
  [...marks].flatMap(([region, mark]) =>
    [...mark.ranges()].map(({ offset, length }) => `${region}: ${offset / PIECE}+${length / PIECE}`),
  );

function scene() {
  const commits: Commit[] = [];
  const marks = new PendingMarks(
    (take) =>
      new Promise((resolve, reject) => commits.push({ take: () => partsOf(take()), end: resolve, fail: reject })),
    () => RegionMark.empty(MIB, PIECE),
  );
  /** Asks for a piece of a region. */
  const add = (region: number, piece: number) => marks.add(region, piece * PIECE, piece * PIECE + 1);
  const commitOf = (region: number, piece: number) => marks.commitOf(region, piece * PIECE, piece * PIECE + 1);
  const begun = async (count: number) => {
    await expect.poll(() => commits.length).toBe(count);
    return commits[count - 1]!;
  };
  return { marks, add, commitOf, begun, commits };
}

test('all that is asked for before a commit takes it goes into it', async () => {
  const { add, begun, commits } = scene();
  add(1, 3);
  const commit = await begun(1);
  add(2, 0);
  add(1, 3);
  add(1, 7);
  expect(commit.take()).toEqual(['1: 3+1', '1: 7+1', '2: 0+1']);
  expect(commits.length).toBe(1);
});

test('what is asked for later goes into the next commit, unless the one under way names it', async () => {
  const { add, commitOf, begun } = scene();
  add(1, 3);
  const first = await begun(1);
  first.take();
  add(1, 3);
  add(1, 4);
  add(2, 3);
  const second = await begun(2);
  expect(
    [commitOf(1, 3), commitOf(1, 4), commitOf(2, 3), commitOf(2, 4)].map((commit) => commit !== undefined),
  ).toEqual([true, true, true, false]);
  expect(second.take()).toEqual(['1: 4+1', '2: 3+1']);
});

test('whoever waits for a part waits for the commit that names it', async () => {
  const { marks, add, commitOf, begun } = scene();
  add(5, 1);
  const first = await begun(1);
  first.take();
  add(5, 2);
  const ended: string[] = [];
  void commitOf(5, 1)!.then((errno) => ended.push(`under way: ${errno}`));
  void commitOf(5, 2)!.then((errno) => ended.push(`next: ${errno}`));
  void marks.nextCommit().then((errno) => ended.push(`next of all: ${errno}`));
  const second = await begun(2);
  first.end(OK);
  await expect.poll(() => ended).toEqual(['under way: 0']);
  expect(second.take()).toEqual(['5: 2+1']);
  second.end(EIO);
  await expect.poll(() => ended).toEqual(['under way: 0', `next: ${EIO}`, `next of all: ${EIO}`]);
});

test('a commit may name more than was asked for, and then nobody asks for that', async () => {
  const taken: ReadonlyMap<number, RegionMark>[] = [];
  const marks = new PendingMarks(
    async (take) => {
      taken.push(take());
      for (const mark of taken.at(-1)!.values()) mark.nameAll();
      return new Promise<Errno>(() => {});
    },
    () => RegionMark.empty(MIB, PIECE),
  );
  marks.add(1, 0, 1);
  await expect.poll(() => taken.length).toBe(1);
  marks.add(1, 5 * PIECE, 6 * PIECE);
  expect(marks.commitOf(1, 5 * PIECE, 6 * PIECE)).toBe(marks.commitOf(1, 0, 1));
});

test('marks are not pending any more when their commit has ended, however it did', async () => {
  const { add, commitOf, begun } = scene();
  add(1, 0);
  const first = await begun(1);
  first.take();
  const done = commitOf(1, 0);
  first.end(EIO);
  expect(await done).toBe(EIO);
  expect(commitOf(1, 0)).toBeUndefined();
  add(1, 0);
  expect((await begun(2)).take()).toEqual(['1: 0+1']);
});

test('a commit that fails before it takes its marks does not hold up the next', async () => {
  const { marks, add, commitOf, begun } = scene();
  add(1, 0);
  const done = marks.nextCommit();
  (await begun(1)).fail(new Error('out of memory'));
  await expect(done).rejects.toThrow('out of memory');
  expect(commitOf(1, 0)).toBeUndefined();
  add(2, 0);
  expect((await begun(2)).take()).toEqual(['2: 0+1']);
});

test('marks that no commit has taken can be forgotten', async () => {
  const { marks, add, commitOf, begun } = scene();
  add(1, 0);
  marks.clear();
  expect(commitOf(1, 0)).toBeUndefined();
  expect((await begun(1)).take()).toEqual([]);
});

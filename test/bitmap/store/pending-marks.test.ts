import { expect, test } from 'vitest';
import { EIO, type Errno, OK } from '../../../src/base/errno.js';
import { PendingMarks } from '../../../src/bitmap/store/pending-marks.js';

/** A commit that ends when the test says so. */
interface Commit {
  readonly take: () => readonly number[];
  readonly end: (errno: Errno) => void;
  readonly fail: (error: Error) => void;
}

function scene() {
  const commits: Commit[] = [];
  const marks = new PendingMarks(
    (take) => new Promise((resolve, reject) => commits.push({ take, end: resolve, fail: reject })),
  );
  const begun = async (count: number) => {
    await expect.poll(() => commits.length).toBe(count);
    return commits[count - 1]!;
  };
  return { marks, begun, commits };
}

test('all marks that are asked for before a commit takes them go into it', async () => {
  const { marks, begun, commits } = scene();
  marks.add(1);
  const commit = await begun(1);
  marks.add(2);
  marks.add(1);
  expect(commit.take()).toEqual([1, 2]);
  expect(commits.length).toBe(1);
});

test('a mark that is asked for later goes into the next commit, unless it is in the one under way', async () => {
  const { marks, begun } = scene();
  marks.add(1);
  const first = await begun(1);
  first.take();
  marks.add(1);
  marks.add(2);
  const second = await begun(2);
  expect([marks.has(1), marks.has(2), marks.has(3)]).toEqual([true, true, false]);
  expect(second.take()).toEqual([2]);
});

test('whoever waits for regions waits for the first commit that marks one of them, or else for the next', async () => {
  const { marks, begun } = scene();
  marks.add(5);
  const first = await begun(1);
  first.take();
  const ended: string[] = [];
  void marks.commitFor(4, 6).then((errno) => ended.push(`under way: ${errno}`));
  void marks.commitFor(7, 9).then((errno) => ended.push(`next: ${errno}`));
  const second = await begun(2);
  first.end(OK);
  await expect.poll(() => ended).toEqual(['under way: 0']);
  expect(second.take()).toEqual([]);
  second.end(EIO);
  await expect.poll(() => ended).toEqual(['under way: 0', `next: ${EIO}`]);
});

test('marks are not pending any more when their commit has ended, however it did', async () => {
  const { marks, begun } = scene();
  marks.add(1);
  const first = await begun(1);
  first.take();
  const done = marks.commitFor(1, 1);
  first.end(EIO);
  expect(await done).toBe(EIO);
  expect(marks.has(1)).toBe(false);
  marks.add(1);
  expect((await begun(2)).take()).toEqual([1]);
});

test('a commit that fails before it takes its marks does not hold up the next', async () => {
  const { marks, begun } = scene();
  marks.add(1);
  const done = marks.nextCommit();
  (await begun(1)).fail(new Error('out of memory'));
  await expect(done).rejects.toThrow('out of memory');
  expect(marks.has(1)).toBe(false);
  marks.add(2);
  expect((await begun(2)).take()).toEqual([2]);
});

test('marks that no commit has taken can be forgotten', async () => {
  const { marks, begun } = scene();
  marks.add(1);
  marks.clear();
  expect(marks.has(1)).toBe(false);
  expect((await begun(1)).take()).toEqual([]);
});

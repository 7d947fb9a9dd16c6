import { describe, expect, it } from 'vitest';
import { DiskThreads } from '../../src/storage/file/disk-threads.js';

/** Calls of one disk that hang until they are released. */
function hangingCalls(threads: DiskThreads, fileSystem: string) {
  const share = threads.share(fileSystem);
  const underWay: (() => void)[] = [];
  const begin = (count: number) => {
    for (let i = 0; i < count; i++) void share.pass(() => new Promise<void>((resolve) => underWay.push(resolve)));
  };
  return { begin, underWay, endOne: () => underWay.shift()!() };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

describe('threads that disks share', () => {
  it('are at most eight for one disk, given to its calls in order of arrival', async () => {
    const disk = hangingCalls(new DiskThreads(64), 'a');
    disk.begin(20);
    await settled();
    expect(disk.underWay.length).toBe(8);
    disk.endOne();
    await settled();
    expect(disk.underWay.length).toBe(8);
  });

  it('are at most half of the free ones for the disks of one file system, however many hang', async () => {
    const threads = new DiskThreads(64);
    const disks = Array.from({ length: 60 }, (_, i) => hangingCalls(threads, i < 30 ? 'a' : 'b'));
    for (const disk of disks) disk.begin(10);
    await settled();
    const used = (from: number) => disks.slice(from, from + 30).reduce((sum, { underWay }) => sum + underWay.length, 0);
    expect([used(0), used(30)]).toEqual([28, 14]);
    const other = hangingCalls(threads, 'c');
    other.begin(1);
    await settled();
    expect(other.underWay.length).toBe(1);
  });

  it('are taken in turns by waiting disks', async () => {
    const threads = new DiskThreads(2 + 2);
    const first = hangingCalls(threads, 'a');
    const [second, third] = [hangingCalls(threads, 'a'), hangingCalls(threads, 'a')];
    first.begin(1);
    second.begin(5);
    third.begin(5);
    await settled();
    expect([first, second, third].map(({ underWay }) => underWay.length)).toEqual([1, 0, 0]);
    first.endOne();
    await settled();
    expect([second, third].map(({ underWay }) => underWay.length)).toEqual([1, 0]);
    second.endOne();
    await settled();
    expect([second, third].map(({ underWay }) => underWay.length)).toEqual([0, 1]);
  });

  it('are given back by calls that fail', async () => {
    const threads = new DiskThreads(64);
    const share = threads.share('a');
    await expect(share.pass(() => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(threads.free).toBe(56);
  });
});

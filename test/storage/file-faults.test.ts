import { truncateSync } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { EAGAIN, EINTR, EIO, ENOSPC, ENXIO, EOPNOTSUPP, OK, WOULD_BLOCK } from '../../src/base/errno.js';
import { KIB, MIB } from '../../src/base/units.js';
import type { Posix } from '../../src/posix/posix-calls.js';
import { allocationOf, contentOf, expectSame } from '../support/device-content.js';
import { native, openScratch } from '../support/scratch-device.js';

const PAGE = 4 * KIB;
const NO_HOLE = { keepAllocated: true, fastOnly: false };
const MAY_PUNCH = { keepAllocated: false, fastOnly: false };
const FAST = { keepAllocated: false, fastOnly: true };

/** A device on a disk file system, with some system calls replaced by the test. */
const openWith = (calls: Partial<Posix>, content: Buffer | number = MIB) =>
  openScratch({ content, posix: { ...native, ...calls } });

describe('flushes at the same time', () => {
  it('are counted when they share that of another', async () => {
    const { device } = await openWith({ sync: async () => 0 });
    await device.flush();
    expect(device.mergedFlushes).toBe(0);
    expect(await Promise.all([device.flush(), device.flush(), device.flush()])).toEqual([OK, OK, OK]);
    expect(device.mergedFlushes).toBe(2);
  });
});

describe('a failing read', () => {
  it('returns the error number, and logs the cause', async () => {
    const { device, lines } = await openWith({ readCachedNow: () => -EAGAIN, read: async () => -EIO });
    const target = Buffer.alloc(PAGE);
    expect(device.readNow(target, 0, PAGE, 0)).toBe(WOULD_BLOCK);
    expect(await device.read(target, 0, PAGE, 0)).toBe(EIO);
    expect(lines).toMatchObject([{ level: 'error', fields: { operation: 'read', errno: 'EIO' } }]);
  });

  it('returns the error number on the event loop too', async () => {
    let answer = 1;
    const { device } = await openWith({ readCachedNow: () => answer });
    answer = -ENXIO;
    expect(device.readNow(Buffer.alloc(PAGE), 0, PAGE, 0)).toBe(ENXIO);
  });

  it.each(['tmpfs', 'disk'] as const)(
    'is the result for a truncated file on %s, and the log explains it',
    async (place) => {
      const { device, path, lines } = await openScratch({ place, content: Buffer.alloc(MIB, 'x') });
      truncateSync(path, 10 * KIB);
      const target = Buffer.alloc(PAGE);
      expect(device.readNow(target, 0, PAGE, 8 * KIB)).toBe(WOULD_BLOCK);
      expect(await device.read(target, 0, PAGE, 8 * KIB)).toBe(EIO);
      expect(await device.read(target, 0, PAGE, 512 * KIB)).toBe(EIO);
      expect(lines.map(({ message }) => message)).toEqual([
        'read failed: the image is shorter than its disk: something truncated it while it was served',
      ]);
    },
  );
});

describe('a short or interrupted transfer', () => {
  it('continues where it stopped', async () => {
    let interrupted = false;
    const { device } = await openWith(
      {
        read: async (fd, target, start, length, offset) => {
          interrupted = !interrupted;
          return interrupted ? -EINTR : native.read(fd, target, start, Math.min(length, 1000), offset);
        },
        write: (fd, source, start, length, offset) => native.write(fd, source, start, Math.min(length, 1000), offset),
      },
      MIB,
    );
    const source = Buffer.from(Array.from({ length: 4567 }, (_, index) => index % 251));
    expect(await device.write(source, 0, source.length, 123)).toBe(OK);
    const target = Buffer.alloc(source.length);
    expect(await device.read(target, 0, target.length, 123)).toBe(OK);
    expectSame(target, source);
  });

  it('leaves the rest to the thread pool if it was on the event loop', async () => {
    const { device } = await openWith({ writeNow: () => 512, readCachedNow: () => 512 });
    const buffer = Buffer.alloc(PAGE);
    expect(device.writeNow(buffer, 0, PAGE, 0)).toBe(WOULD_BLOCK);
    expect(device.readNow(buffer, 0, PAGE, 0)).toBe(WOULD_BLOCK);
  });
});

describe('a full disk', () => {
  it('fails writes with its own error number, and the export stays usable', async () => {
    let full = true;
    const { device, lines } = await openWith({
      writeNow: (...call) => (full ? -ENOSPC : native.writeNow(...call)),
      write: async (...call) => (full ? -ENOSPC : native.write(...call)),
    });
    const source = Buffer.alloc(PAGE, 'x');
    expect(device.writeNow(source, 0, PAGE, 0)).toBe(ENOSPC);
    expect(await device.write(source, 0, PAGE, 0)).toBe(ENOSPC);
    expect(lines).toMatchObject([{ fields: { operation: 'write', errno: 'ENOSPC' } }]);
    full = false;
    expect(device.writeNow(source, 0, PAGE, 0)).toBe(OK);
    expect(await device.flush()).toBe(OK);
  });

  it('fails zeroes and trims too', async () => {
    const { device } = await openWith({ fallocate: async () => -ENOSPC });
    expect(await device.zero(0, PAGE, MAY_PUNCH)).toBe(ENOSPC);
    expect(await device.trim(0, PAGE)).toBe(ENOSPC);
  });
});

describe('a file system without holes', () => {
  const refuse = { fallocate: async () => -EOPNOTSUPP };

  it('gets zeroes written', async () => {
    const { device } = await openWith(refuse, Buffer.alloc(MIB, 'x'));
    expect(await device.zero(1, MIB - 2, MAY_PUNCH)).toBe(OK);
    expectSame(await contentOf(device), Buffer.alloc(MIB, 'x').fill(0, 1, MIB - 1));
  });

  it('refuses a fast zero and changes nothing', async () => {
    const { device } = await openWith(refuse, Buffer.alloc(MIB, 'x'));
    expect(await device.zero(1, MIB - 2, FAST)).toBe(EOPNOTSUPP);
    expectSame(await contentOf(device), Buffer.alloc(MIB, 'x'));
  });

  it('accepts a trim and keeps the data', async () => {
    const { device } = await openWith(refuse, Buffer.alloc(MIB, 'x'));
    expect(await device.trim(0, MIB)).toBe(OK);
    expectSame(await contentOf(device), Buffer.alloc(MIB, 'x'));
  });

  it('is asked only once for each mode', async () => {
    const modes: number[] = [];
    const { device } = await openWith({
      fallocate: async (_fd, mode) => {
        modes.push(mode);
        return -EOPNOTSUPP;
      },
    });
    for (const options of [MAY_PUNCH, NO_HOLE, FAST, MAY_PUNCH]) await device.zero(0, PAGE, options);
    await device.trim(0, MIB);
    expect(modes).toHaveLength(2);
  });
});

describe('while a call holds the lock of the file', () => {
  it('writes go to the thread pool, where they do not block the event loop', async () => {
    let finish = () => {};
    const punched = new Promise<number>((resolve) => {
      finish = () => resolve(0);
    });
    const { device } = await openWith({ fallocate: () => punched });
    const source = Buffer.alloc(PAGE);
    const trim = device.trim(0, MIB);
    expect(device.writeNow(source, 0, PAGE, 0)).toBe(WOULD_BLOCK);
    expect(device.holeNow(0, PAGE)).toBe(0);
    finish();
    await trim;
    expect(device.writeNow(source, 0, PAGE, 0)).toBe(OK);
  });
});

describe('a write of part of a page', () => {
  it('uses the thread pool on a disk, because the page may have to be read first', async () => {
    const { device } = await openWith({});
    expect(device.writeNow(Buffer.alloc(512), 0, 512, 512)).toBe(WOULD_BLOCK);
  });

  it('runs at once in memory', async () => {
    const { device } = await openScratch({ place: 'tmpfs', content: MIB });
    expect(device.writeNow(Buffer.alloc(512), 0, 512, 512)).toBe(OK);
  });
});

describe('flushes', () => {
  it('that are requested while one runs share the next one, which starts after them', async () => {
    const finish: ((result: number) => void)[] = [];
    const { device } = await openWith({ sync: () => new Promise<number>((resolve) => finish.push(resolve)) });
    const done: string[] = [];
    const flush = (name: string) => device.flush().then((errno) => done.push(`${name} ${errno}`));
    const first = flush('first');
    await nextTurn();
    const others = [flush('second'), flush('third')];
    await nextTurn();
    expect(finish).toHaveLength(1);
    finish[0]!(0);
    await first;
    await nextTurn();
    expect(finish).toHaveLength(2);
    expect(done).toEqual(['first 0']);
    finish[1]!(0);
    await Promise.all(others);
    expect(done).toEqual(['first 0', 'second 0', 'third 0']);
  });

  it('never succeed after one has failed: every change is refused, reads still work', async () => {
    let result = -ENOSPC;
    const { device, lines } = await openWith({ sync: async () => result }, Buffer.alloc(MIB, 'x'));
    expect(await device.flush()).toBe(ENOSPC);
    result = 0;
    const source = Buffer.alloc(PAGE);
    expect(await device.flush()).toBe(EIO);
    expect(device.writeNow(source, 0, PAGE, 0)).toBe(EIO);
    expect(await device.write(source, 0, PAGE, 0)).toBe(EIO);
    expect(await device.zero(0, PAGE, MAY_PUNCH)).toBe(EIO);
    expect(await device.trim(0, PAGE)).toBe(EIO);
    expectSame(await contentOf(device), Buffer.alloc(MIB, 'x'));
    expect(lines).toMatchObject([{ level: 'error', fields: { operation: 'flush', errno: 'ENOSPC' } }]);
  });

  it('fail if they wait for one that fails', async () => {
    const { device } = await openWith({ sync: async () => -EIO });
    expect(await Promise.all([device.flush(), device.flush()])).toEqual([EIO, EIO]);
  });

  it.each([
    [
      'throws',
      () => {
        throw new Error('a bug');
      },
    ],
    ['rejects', () => Promise.reject(new Error('a bug'))],
  ] as const)('one that %s counts as failed, and keeps none that comes after it waiting', async (_how, sync) => {
    const { device } = await openWith({ sync });
    expect(await Promise.all([device.flush(), device.flush()])).toEqual([EIO, EIO]);
    expect(await device.flush()).toBe(EIO);
    expect(await device.write(Buffer.alloc(PAGE), 0, PAGE, 0)).toBe(EIO);
  });
});

describe('close', () => {
  it('waits for the calls in flight', async () => {
    let finish = (_count: number) => {};
    const { device } = await openWith({
      write: () =>
        new Promise<number>((resolve) => {
          finish = resolve;
        }),
    });
    const events: string[] = [];
    const write = device.write(Buffer.alloc(512), 0, 512, 0).then(() => events.push('written'));
    const close = device.close().then(() => events.push('closed'));
    await nextTurn();
    expect(events).toEqual([]);
    finish(512);
    await Promise.all([write, close]);
    expect(events).toEqual(['written', 'closed']);
  });
});

describe('a truncated file', () => {
  it('shows no hole beyond its end, where reads fail', async () => {
    const { device, path } = await openScratch({ content: MIB });
    truncateSync(path, 512 * KIB);
    expect(await allocationOf(device)).toEqual([
      [512 * KIB, 3],
      [512 * KIB, 0],
    ]);
    expect(device.holeNow(600 * KIB, PAGE)).toBe(0);
    expect(device.holeNow(500 * KIB, 64 * KIB)).toBe(12 * KIB);
  });
});

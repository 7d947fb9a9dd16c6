import { execFileSync } from 'node:child_process';
import { readFileSync, statSync, truncateSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { BugError } from '../../src/base/assert.js';
import { EOPNOTSUPP, OK, WOULD_BLOCK } from '../../src/base/errno.js';
import { KIB, MIB } from '../../src/base/units.js';
import { PagePipe } from '../../src/storage/device/page-pipe.js';
import { contentOf, expectSame, put } from '../support/device-content.js';
import { native, openScratch } from '../support/scratch-device.js';

const SLOW = { keepAllocated: false, fastOnly: false };
const KEEP = { keepAllocated: true, fastOnly: false };
const FAST = { keepAllocated: false, fastOnly: true };

const allocatedBytes = (path: string) => statSync(path).blocks * 512;

describe.each([
  { place: 'tmpfs', calls: 'native calls', posix: native },
  { place: 'disk', calls: 'native calls', posix: native },
  { place: 'tmpfs', calls: "Node's calls", posix: undefined },
  { place: 'disk', calls: "Node's calls", posix: undefined },
] as const)('a file on $place, with $calls', ({ place, posix }) => {
  const open = (content: Buffer | number) => openScratch({ place, content, posix });

  it('reads the requested range into the given part of the buffer', async () => {
    const { device } = await open(Buffer.from('0123456789abcdef'.repeat(64)));
    const target = Buffer.alloc(8, '.');
    expect(await device.read(target, 2, 4, 1010)).toBe(OK);
    expect(target.toString()).toBe('..2345..');
  });

  it('writes the given part of the buffer to the requested range', async () => {
    const { device, path } = await open(1024);
    expect(await device.write(Buffer.from('..ab..'), 2, 2, 511)).toBe(OK);
    expect(readFileSync(path).subarray(510, 514).toString()).toBe('\0ab\0');
  });

  it('reads back what was written on the event loop or in the thread pool', async () => {
    const { device, path } = await open(4 * MIB);
    const small = Buffer.alloc(4 * KIB, 's');
    const large = Buffer.alloc(3 * MIB, 'l');
    await put(device, 8 * KIB, small);
    await put(device, MIB, large);
    expectSame(await contentOf(device, 8 * KIB, small.length), small);
    expectSame(await contentOf(device, MIB, large.length), large);
    expect(await device.flush()).toBe(OK);
    expectSame(readFileSync(path), await contentOf(device));
  });

  it('leaves large transfers to the thread pool', async () => {
    const { device } = await open(4 * MIB);
    const buffer = Buffer.alloc(2 * MIB);
    expect(device.readNow(buffer, 0, buffer.length, 0)).toBe(WOULD_BLOCK);
    expect(device.writeNow(buffer, 0, buffer.length, 0)).toBe(WOULD_BLOCK);
  });

  it('lends pages only of memory, and only where native calls can', async () => {
    const content = Buffer.from('0123456789abcdef'.repeat(8 * KIB));
    const { device } = await open(content);
    const pipe = PagePipe.open()!;
    const lends = place === 'tmpfs' && posix !== undefined;
    expect(device.lendNow(pipe, 70_000, 5)).toBe(lends ? OK : WOULD_BLOCK);
    const lent = Buffer.alloc(70_000);
    if (lends) pipe.take(lent, 0, lent.length);
    expect(lent.equals(content.subarray(5, 70_005))).toBe(lends);
  });

  it.each([SLOW, KEEP])('zeroes exactly the range, with %o', async (options) => {
    const { device } = await open(Buffer.alloc(MIB, 'x'));
    expect(await device.zero(1001, 500_001, options)).toBe(OK);
    const expected = Buffer.alloc(MIB, 'x').fill(0, 1001, 501_002);
    expectSame(await contentOf(device), expected);
  });

  it('keeps the space of a range that is zeroed with keepAllocated', async () => {
    const { device, path } = await open(Buffer.alloc(MIB, 'x'));
    await device.zero(0, MIB, KEEP);
    await device.flush();
    expect(allocatedBytes(path)).toBeGreaterThanOrEqual(MIB);
  });

  it('allocates a hole that is zeroed with keepAllocated', async () => {
    const { device, path } = await open(MIB);
    await device.zero(0, MIB, KEEP);
    await device.flush();
    expect(allocatedBytes(path)).toBeGreaterThanOrEqual(MIB);
  });

  it('trims to old data or zeroes, and touches nothing outside', async () => {
    const { device } = await open(Buffer.alloc(MIB, 'x'));
    expect(await device.trim(1001, 500_001)).toBe(OK);
    const content = await contentOf(device);
    const inside = content.subarray(1001, 501_002);
    expect(inside.every((byte) => byte === 0 || byte === 0x78)).toBe(true);
    expectSame(Buffer.concat([content.subarray(0, 1001), content.subarray(501_002)]), Buffer.alloc(MIB - 500_001, 'x'));
  });

  it('accepts the hint that a range will be read', async () => {
    const { device } = await open(MIB);
    expect(await device.cache(0, MIB)).toBe(OK);
  });

  it('treats a range outside the disk and a call after close as bugs', async () => {
    const { device } = await open(1024);
    expect(() => device.readNow(Buffer.alloc(1), 0, 1, 1024)).toThrow(BugError);
    await expect(device.zero(0, 1025, SLOW)).rejects.toThrow(BugError);
    await device.close();
    expect(() => device.readNow(Buffer.alloc(1), 0, 1, 0)).toThrow(BugError);
    await expect(device.flush()).rejects.toThrow(BugError);
  });
});

describe.each(['tmpfs', 'disk'] as const)('a file on %s', (place) => {
  it('is read on the event loop if it is cached', async () => {
    const { device } = await openScratch({ place, content: Buffer.alloc(64 * KIB, 'x') });
    expect(device.readNow(Buffer.alloc(64 * KIB), 0, 64 * KIB, 0)).toBe(OK);
  });

  it('is written on the event loop in whole pages', async () => {
    const { device } = await openScratch({ place, content: 64 * KIB });
    expect(device.writeNow(Buffer.alloc(8 * KIB), 0, 8 * KIB, 4 * KIB)).toBe(OK);
  });

  it('frees space when it is trimmed or zeroed', async () => {
    const { device, path } = await openScratch({ place, content: Buffer.alloc(MIB, 'x') });
    await device.flush();
    expect(allocatedBytes(path)).toBeGreaterThanOrEqual(MIB);
    await device.trim(0, 512 * KIB);
    expect(allocatedBytes(path)).toBeLessThan(MIB);
    expect(await device.zero(512 * KIB, 512 * KIB, FAST)).toBe(OK);
    expect(allocatedBytes(path)).toBeLessThan(64 * KIB);
  });
});

describe('data that is only on the disk', () => {
  it('is read in the thread pool, so that the event loop does not wait for the disk', async () => {
    const { device, path } = await openScratch({ content: Buffer.alloc(64 * KIB, 'x') });
    execFileSync('dd', [`of=${path}`, 'oflag=nocache', 'conv=notrunc,fdatasync', 'count=0', 'status=none']);
    const target = Buffer.alloc(64 * KIB);
    expect(device.readNow(target, 0, target.length, 0)).toBe(WOULD_BLOCK);
    expect(await device.read(target, 0, target.length, 0)).toBe(OK);
    expect(device.readNow(target, 0, target.length, 0)).toBe(OK);
  });
});

describe('a fast zero', () => {
  it('is refused if keeping the space would require writing', async () => {
    const { device } = await openScratch({ place: 'tmpfs', content: Buffer.alloc(MIB, 'x') });
    expect(await device.zero(0, MIB, { keepAllocated: true, fastOnly: true })).toBe(EOPNOTSUPP);
    expectSame(await contentOf(device), Buffer.alloc(MIB, 'x'));
  });

  it('is refused without native calls', async () => {
    const { device } = await openScratch({ content: Buffer.alloc(MIB, 'x'), posix: undefined });
    expect(await device.zero(0, MIB, FAST)).toBe(EOPNOTSUPP);
    expectSame(await contentOf(device), Buffer.alloc(MIB, 'x'));
  });
});

describe('a read-only device', () => {
  it('reads, and ignores flushes', async () => {
    const { device } = await openScratch({ content: Buffer.alloc(1024, 'x'), readOnly: true });
    expect(device.capabilities.readOnly).toBe(true);
    expectSame(await contentOf(device), Buffer.alloc(1024, 'x'));
    expect(await device.flush()).toBe(OK);
  });

  it('treats every change as a bug', async () => {
    const { device } = await openScratch({ content: 1024, readOnly: true });
    expect(() => device.writeNow(Buffer.alloc(1), 0, 1, 0)).toThrow(BugError);
    await expect(device.write(Buffer.alloc(1), 0, 1, 0)).rejects.toThrow(BugError);
    await expect(device.zero(0, 1, SLOW)).rejects.toThrow(BugError);
    await expect(device.trim(0, 1)).rejects.toThrow(BugError);
  });
});

describe('a resize', () => {
  it('grows a shorter file with zeroes', async () => {
    const { device, path } = await openScratch({ content: Buffer.alloc(1024, 'x') });
    await device.resize(4096);
    expect(device.sizeBytes).toBe(4096);
    expect(statSync(path).size).toBe(4096);
    expectSame(await contentOf(device, 1024), Buffer.alloc(3072));
  });

  it('serves less of a file and leaves the rest unchanged', async () => {
    const { device, path } = await openScratch({ content: Buffer.alloc(4096, 'x') });
    await device.resize(1024);
    expect(device.sizeBytes).toBe(1024);
    expectSame(readFileSync(path), Buffer.alloc(4096, 'x'));
  });

  it('serves what another program appended to the file, also on a read-only device', async () => {
    const { device, path } = await openScratch({ content: 1024, readOnly: true });
    truncateSync(path, 8192);
    await device.resize(4096);
    expect(device.sizeBytes).toBe(4096);
    expect(statSync(path).size).toBe(8192);
  });

  it('is refused with a hint', async () => {
    const { device, path } = await openScratch({ content: 1024, readOnly: true });
    const hint = `grow the file first: truncate -s 4096 ${path}`;
    await expect(device.resize(4096)).rejects.toMatchObject({ code: 'IMAGE_UNUSABLE', hint });
    await expect(device.resize(1000)).rejects.toMatchObject({ code: 'IMAGE_UNUSABLE' });
    expect(device.sizeBytes).toBe(1024);
  });

  it('is refused if the file system cannot hold the size', async () => {
    const { device } = await openScratch({ content: 1024 });
    await expect(device.resize(2 ** 52)).rejects.toMatchObject({ code: 'IMAGE_UNUSABLE' });
    expect(device.sizeBytes).toBe(1024);
  });
});

import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync, truncateSync } from 'node:fs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { OK } from '../../src/base/errno.js';
import { silentLog } from '../../src/base/log.js';
import { KIB, MIB } from '../../src/base/units.js';
import { openDiskAt, readBootId } from '../../src/posix/find-disk.js';
import type { FileDevice } from '../../src/storage/file/file-device.js';
import { openDisk } from '../../src/storage/image/open-disk.js';
import { allocationOf, contentOf, expectSame, put } from '../support/device-content.js';
import { attachLoop } from '../support/loop-device.js';
import { native, writeImage } from '../support/scratch-device.js';

const DISK_BYTES = 4 * MIB;

/** A loop device over a new file of DISK_BYTES; needs root. */
function makeLoopDevice(...options: string[]): { path: string; file: string } {
  const file = writeImage({ content: DISK_BYTES });
  const path = attachLoop(file, ...options);
  return { path, file };
}

async function open(path: string, readOnly = false): Promise<FileDevice> {
  const device = await openDisk({ path, readOnly, posix: native, log: silentLog });
  onTestFinished(() => device.close());
  return device;
}

describe.each([512, 4096])('a block device with blocks of %i bytes', (blockBytes) => {
  const openLoop = () => open(makeLoopDevice('--sector-size', `${blockBytes}`).path);

  it('has the size that the kernel reports', async () => {
    const device = await openLoop();
    expect(device.sizeBytes).toBe(DISK_BYTES);
    expect(device.capabilities).toMatchObject({ readOnly: false, trim: true, fastZero: true });
  });

  it('reads back what was written, at any alignment', async () => {
    const device = await openLoop();
    const source = Buffer.alloc(100_001, 'x');
    await put(device, 1234, source);
    expect(await device.flush()).toBe(OK);
    expectSame(await contentOf(device, 1233, 100_003), Buffer.concat([Buffer.alloc(1), source, Buffer.alloc(1)]));
  });

  it.each([
    { keepAllocated: false, fastOnly: false },
    { keepAllocated: false, fastOnly: true },
    { keepAllocated: true, fastOnly: false },
  ])('zeroes exactly the range, at any alignment, with %o', async (options) => {
    const device = await openLoop();
    await put(device, 0, Buffer.alloc(MIB, 'x'));
    expect(await device.zero(1001, 500_001, options)).toBe(OK);
    expect(await device.zero(600_001, 10, options)).toBe(OK);
    const expected = Buffer.alloc(MIB, 'x').fill(0, 1001, 501_002).fill(0, 600_001, 600_011);
    expectSame(await contentOf(device, 0, MIB), expected);
  });

  it('trims only inside the range', async () => {
    const device = await openLoop();
    await put(device, 0, Buffer.alloc(MIB, 'x'));
    expect(await device.trim(1001, 500_001)).toBe(OK);
    expectSame(await contentOf(device, 0, 1001), Buffer.alloc(1001, 'x'));
    expectSame(await contentOf(device, 8 * KIB, 64 * KIB), Buffer.alloc(64 * KIB));
    expectSame(await contentOf(device, 501_002, 10_000), Buffer.alloc(10_000, 'x'));
  });
});

describe('a block device', () => {
  it('shows no holes', async () => {
    const device = await open(makeLoopDevice().path);
    expect(await allocationOf(device)).toEqual([[DISK_BYTES, 0]]);
    expect(device.holeNow(0, MIB)).toBe(0);
  });

  it('is read on the event loop while it is cached', async () => {
    const device = await open(makeLoopDevice().path);
    await put(device, 0, Buffer.alloc(64 * KIB, 'x'));
    const target = Buffer.alloc(64 * KIB);
    expect(device.readNow(target, 0, target.length, 0)).toBe(OK);
  });

  it('is refused while the kernel or another server uses it', async () => {
    const { path } = makeLoopDevice();
    const claim = openSync(path, constants.O_RDWR | constants.O_EXCL);
    await expect(open(path)).rejects.toMatchObject({ code: 'IMAGE_LOCKED', hint: expect.stringContaining('unmount') });
    closeSync(claim);
    await open(path);
    await expect(open(path)).rejects.toMatchObject({ code: 'IMAGE_LOCKED' });
  });

  it('is refused to a QEMU tool while it is served', async () => {
    const { path } = makeLoopDevice();
    await open(path);
    const write = () => execFileSync('qemu-io', ['-f', 'raw', '-c', 'write 0 4k', path], { stdio: 'pipe' });
    expect(write).toThrow('Failed to get');
  });

  it('can be found by other programs on the machine, which see writes at once', async () => {
    const { path } = makeLoopDevice();
    const device = await open(path);
    const { id } = await device.identify();
    await put(device, MIB, Buffer.from('not flushed'));
    const file = await openDiskAt({ path, id, bootId: (await readBootId())! });
    onTestFinished(() => file?.close());
    const { buffer } = await file!.read(Buffer.alloc(11), 0, 11, MIB);
    expect(buffer.toString()).toBe('not flushed');
    const other = makeLoopDevice().path;
    expect(await openDiskAt({ path: other, id, bootId: (await readBootId())! })).toBeUndefined();
  });

  it('can be served larger only after it has grown', async () => {
    const { path, file } = makeLoopDevice();
    const device = await open(path);
    const hint = 'grow the block device first';
    await expect(device.resize(2 * DISK_BYTES)).rejects.toMatchObject({ code: 'IMAGE_UNUSABLE', hint });
    truncateSync(file, 2 * DISK_BYTES);
    execFileSync('losetup', ['--set-capacity', path]);
    await device.resize(2 * DISK_BYTES);
    await put(device, 2 * DISK_BYTES - 3, Buffer.from('end'));
    expectSame(await contentOf(device, 2 * DISK_BYTES - 3), Buffer.from('end'));
  });
});

import { expect, test } from 'vitest';
import { EIO, EPERM, OK } from '../../src/base/errno.js';
import { ExtentList } from '../../src/base/extents.js';
import { KIB } from '../../src/base/units.js';
import { ClonedDisk } from '../../src/snapshot/cloned-disk.js';
import { FaultyDevice } from '../support/faulty-device.js';
import { MemoryDevice } from '../support/memory-device.js';

const GRANULE = 64 * KIB;
const DISK_BYTES = 4 * GRANULE - 512;

/** The first granule of the clone is full of "a", the rest is a hole. */
function cloned() {
  const memory = new MemoryDevice(DISK_BYTES);
  memory.writeNow(Buffer.alloc(GRANULE, 'a'), 0, GRANULE, 0);
  const clone = new FaultyDevice(memory);
  const disk = new ClonedDisk(clone, GRANULE);
  const target = Buffer.alloc(DISK_BYTES);
  const read = (offset: number, length: number) => disk.read(target, 0, length, offset);
  return { clone, disk, target, read };
}

test('it reads as its clone, holes and allocation included', async () => {
  const { disk, target, read } = cloned();
  expect(disk.sizeBytes).toBe(DISK_BYTES);
  expect(disk.readNow(target, 0, 512, GRANULE - 512)).toBe(OK);
  expect(target.subarray(0, 512).equals(Buffer.alloc(512, 'a'))).toBe(true);
  expect(await read(0, DISK_BYTES)).toBe(OK);
  expect([disk.holeNow(0, GRANULE), disk.holeNow(GRANULE, GRANULE)]).toEqual([0, GRANULE]);
  const list = new ExtentList(10);
  expect(await disk.extents(0, DISK_BYTES, list)).toBe(OK);
  expect(list.lengths).toEqual([GRANULE, DISK_BYTES - GRANULE]);
  expect(disk.reads).toBe(2);
});

test('it cannot be changed', async () => {
  const { disk } = cloned();
  expect(disk.capabilities).toMatchObject({ readOnly: true, trim: false, fastZero: false });
  expect([disk.writeNow(), await disk.write(), await disk.zero(), await disk.trim()]).toEqual(Array(4).fill(EPERM));
});

test('a range that is released cannot be read, which affects whole granules', async () => {
  const { disk, read } = cloned();
  expect(await disk.release(512, 2 * GRANULE)).toBe(OK);
  expect([await read(0, GRANULE), await read(GRANULE - 512, 1024), await read(2 * GRANULE, 512)]).toEqual([
    OK,
    EIO,
    OK,
  ]);
  expect([disk.readNow(Buffer.alloc(512), 0, 512, GRANULE), disk.holeNow(GRANULE, 512)]).toEqual([EIO, 0]);
  // The last granule is short, and is released with the end of the disk.
  expect(await disk.release(3 * GRANULE, DISK_BYTES - 3 * GRANULE)).toBe(OK);
  expect(await read(DISK_BYTES - 512, 512)).toBe(EIO);
  expect(await disk.release(0, 512)).toBe(OK);
  expect(await read(0, 512)).toBe(OK);
});

test('it cannot be read once it is closed, not even by a read that has begun', async () => {
  const { clone, disk, read } = cloned();
  clone.hold();
  const begun = read(0, 512);
  await disk.close();
  clone.release();
  expect([await begun, await read(0, 512), await disk.release(0, GRANULE)]).toEqual([EIO, EIO, EIO]);
  expect(await disk.extents(0, 512, new ExtentList(1))).toBe(EIO);
  await disk.close();
});

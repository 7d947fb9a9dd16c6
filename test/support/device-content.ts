import { expect } from 'vitest';
import { OK, WOULD_BLOCK } from '../../src/base/errno.js';
import { ExtentList } from '../../src/base/extents.js';
import type { BlockDevice } from '../../src/storage/device/block-device.js';

/** Reads from the device, with whichever call it answers. */
export async function contentOf(device: BlockDevice, offset = 0, length = device.sizeBytes - offset): Promise<Buffer> {
  const target = Buffer.alloc(length, 0xee);
  const errno = device.readNow(target, 0, length, offset);
  expect(errno === WOULD_BLOCK ? await device.read(target, 0, length, offset) : errno).toBe(OK);
  return target;
}

/** Writes with whichever call the device answers. */
export async function put(device: BlockDevice, offset: number, source: Buffer): Promise<void> {
  const errno = device.writeNow(source, 0, source.length, offset);
  expect(errno === WOULD_BLOCK ? await device.write(source, 0, source.length, offset) : errno).toBe(OK);
}

/** The allocation of the range as [length, status] pairs. */
export async function allocationOf(
  device: BlockDevice,
  offset = 0,
  length = device.sizeBytes - offset,
  limit = 1000,
): Promise<[number, number][]> {
  const list = new ExtentList(limit);
  expect(await device.extents(offset, length, list)).toBe(OK);
  return list.lengths.map((bytes, index) => [bytes, list.statuses[index]!]);
}

/** Compares large buffers without printing them. */
export function expectSame(actual: Buffer, expected: Buffer): void {
  expect(actual.length).toBe(expected.length);
  if (actual.equals(expected)) return;
  const first = actual.findIndex((byte, index) => byte !== expected[index]);
  expect.fail(`differs from byte ${first} on`);
}

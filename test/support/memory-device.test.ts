import { describe, expect, it } from 'vitest';
import { BugError } from '../../src/base/assert.js';
import { EOPNOTSUPP, OK } from '../../src/base/errno.js';
import { ExtentList } from '../../src/base/extents.js';
import { KIB, MIB, TIB } from '../../src/base/units.js';
import { ALLOCATION_HOLE, ALLOCATION_ZERO } from '../../src/storage/device/block-device.js';
import { allocationOf, expectSame } from './device-content.js';
import { MemoryDevice } from './memory-device.js';

const HOLE = ALLOCATION_HOLE | ALLOCATION_ZERO;

function readAll(device: MemoryDevice, offset: number, length: number): Buffer {
  const target = Buffer.alloc(length, 0xee);
  expect(device.readNow(target, 0, length, offset)).toBe(OK);
  return target;
}

describe('a memory device', () => {
  it('reads zeroes where nothing was written', () => {
    expect(readAll(new MemoryDevice(MIB), 1000, 2000)).toEqual(Buffer.alloc(2000));
  });

  it('reads back a write across chunk borders', () => {
    const device = new MemoryDevice(MIB);
    const source = Buffer.from(Array.from({ length: 200 * KIB }, (_, index) => index % 251));
    expect(device.writeNow(source, 0, source.length, 60 * KIB + 1)).toBe(OK);
    expectSame(readAll(device, 60 * KIB + 1, source.length), source);
    expect(readAll(device, 60 * KIB, 1)).toEqual(Buffer.alloc(1));
  });

  it('reports unwritten chunks as holes and written ones as data', async () => {
    const device = new MemoryDevice(MIB);
    device.writeNow(Buffer.from('x'), 0, 1, 130 * KIB);
    expect(await allocationOf(device, 0, MIB)).toEqual([
      [128 * KIB, HOLE],
      [64 * KIB, 0],
      [832 * KIB, HOLE],
    ]);
    expect(device.holeNow(100 * KIB, 100 * KIB)).toBe(28 * KIB);
    expect(device.holeNow(130 * KIB, 1)).toBe(0);
  });

  it('stops at a full extent list', async () => {
    const device = new MemoryDevice(MIB);
    device.writeNow(Buffer.from('x'), 0, 1, 0);
    const list = new ExtentList(1);
    expect(await device.extents(0, MIB, list)).toBe(OK);
    expect(list.lengths).toEqual([64 * KIB]);
  });

  it('keeps a zeroed range allocated when asked to', async () => {
    const device = new MemoryDevice(MIB);
    device.writeNow(Buffer.alloc(MIB, 7), 0, MIB, 0);
    expect(await device.zero(0, 100 * KIB, { keepAllocated: true, fastOnly: false })).toBe(OK);
    expect(await device.zero(512 * KIB, 64 * KIB, { keepAllocated: false, fastOnly: false })).toBe(OK);
    expectSame(readAll(device, 0, 101 * KIB), Buffer.concat([Buffer.alloc(100 * KIB), Buffer.alloc(KIB, 7)]));
    expect(await allocationOf(device, 0, MIB)).toEqual([
      [64 * KIB, ALLOCATION_ZERO],
      [448 * KIB, 0],
      [64 * KIB, HOLE],
      [448 * KIB, 0],
    ]);
  });

  it('gives a zeroed chunk its own memory at the next write', async () => {
    const device = new MemoryDevice(MIB);
    await device.zero(0, 128 * KIB, { keepAllocated: true, fastOnly: false });
    device.writeNow(Buffer.from('x'), 0, 1, 0);
    expect(readAll(device, 64 * KIB, 1)).toEqual(Buffer.alloc(1));
  });

  it('refuses a fast zero when it is told to have none', async () => {
    const device = new MemoryDevice(MIB, { fastZero: false });
    device.writeNow(Buffer.from('x'), 0, 1, 0);
    expect(await device.zero(0, KIB, { keepAllocated: false, fastOnly: true })).toBe(EOPNOTSUPP);
    expect(readAll(device, 0, 1)).toEqual(Buffer.from('x'));
  });

  it('can be many TiB large', async () => {
    const device = new MemoryDevice(16 * TIB);
    device.writeNow(Buffer.from('end'), 0, 3, 16 * TIB - 3);
    expect(readAll(device, 16 * TIB - 4, 4)).toEqual(Buffer.from('\0end'));
    expect((await allocationOf(device, 0, 16 * TIB))[0]).toEqual([16 * TIB - 64 * KIB, HOLE]);
  });

  it('shows zeroes where a shrunk disk grows again', () => {
    const device = new MemoryDevice(MIB);
    device.writeNow(Buffer.alloc(MIB, 7), 0, MIB, 0);
    device.resize(1536);
    device.resize(MIB);
    expect(readAll(device, 1535, 2)).toEqual(Buffer.from([7, 0]));
  });

  it('calls a range outside the disk a bug', () => {
    const device = new MemoryDevice(MIB);
    expect(() => device.readNow(Buffer.alloc(512), 0, 512, MIB - 511)).toThrow(BugError);
  });
});

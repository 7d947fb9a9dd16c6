import { describe, expect, it } from 'vitest';
import { EOPNOTSUPP } from '../../src/base/errno.js';
import { KIB, MIB } from '../../src/base/units.js';
import { SEEK_HOLE } from '../../src/posix/posix-calls.js';
import { allocationOf, put } from '../support/device-content.js';
import { native, openScratch } from '../support/scratch-device.js';

const HOLE = 3;
const DATA = 0;

describe.each(['tmpfs', 'disk'] as const)('the allocation of a file on %s', (place) => {
  it('shows a new image as one hole', async () => {
    const { device } = await openScratch({ place, content: 16 * MIB });
    expect(await allocationOf(device)).toEqual([[16 * MIB, HOLE]]);
    expect(device.holeNow(MIB, 4 * MIB)).toBe(4 * MIB);
  });

  it('shows data where it was written and holes around it', async () => {
    const { device } = await openScratch({ place, content: 16 * MIB });
    await put(device, 4 * MIB, Buffer.alloc(64 * KIB, 'x'));
    await put(device, 8 * MIB, Buffer.alloc(64 * KIB, 'x'));
    expect(await allocationOf(device)).toEqual([
      [4 * MIB, HOLE],
      [64 * KIB, DATA],
      [4 * MIB - 64 * KIB, HOLE],
      [64 * KIB, DATA],
      [8 * MIB - 64 * KIB, HOLE],
    ]);
  });

  it('is cut to the requested range', async () => {
    const { device } = await openScratch({ place, content: 16 * MIB });
    await put(device, 4 * MIB, Buffer.alloc(64 * KIB, 'x'));
    expect(await allocationOf(device, 4 * MIB - 100, 1000)).toEqual([
      [100, HOLE],
      [900, DATA],
    ]);
    expect(await allocationOf(device, 4 * MIB + 1000, 100)).toEqual([[100, DATA]]);
    expect(await allocationOf(device, 15 * MIB, 100)).toEqual([[100, HOLE]]);
  });

  it('stops at a full list', async () => {
    const { device } = await openScratch({ place, content: 16 * MIB });
    await put(device, 4 * MIB, Buffer.alloc(64 * KIB, 'x'));
    expect(await allocationOf(device, 0, 16 * MIB, 1)).toEqual([[4 * MIB, HOLE]]);
    expect(await allocationOf(device, 4 * MIB, 12 * MIB, 1)).toEqual([[64 * KIB, DATA]]);
  });

  it('reports a hole before data at once, and none where data begins', async () => {
    const { device } = await openScratch({ place, content: 16 * MIB });
    await put(device, 4 * MIB, Buffer.alloc(64 * KIB, 'x'));
    expect(device.holeNow(MIB, 8 * MIB)).toBe(3 * MIB);
    expect(device.holeNow(4 * MIB, MIB)).toBe(0);
  });

  it('shows a hole that was trimmed into data reported before', async () => {
    const { device } = await openScratch({ place, content: Buffer.alloc(4 * MIB, 'x') });
    expect(await allocationOf(device)).toEqual([[4 * MIB, DATA]]);
    await device.trim(MIB, MIB);
    const expected = [
      [MIB, DATA],
      [MIB, HOLE],
      [2 * MIB, DATA],
    ];
    expect(await allocationOf(device)).toEqual(expected);
    expect(device.holeNow(MIB, MIB)).toBe(MIB);
  });

  it('covers an image with thousands of holes', async () => {
    const { device } = await openScratch({ place, content: 16 * MIB });
    for (let offset = 0; offset < 16 * MIB; offset += 8 * KIB) await put(device, offset, Buffer.alloc(4 * KIB, 'x'));
    const allocation = await allocationOf(device, 0, 16 * MIB, 10_000);
    expect(allocation).toHaveLength(4096);
    expect(new Set(allocation.map(([length, status]) => `${length} ${status}`))).toEqual(
      new Set([`${4 * KIB} ${DATA}`, `${4 * KIB} ${HOLE}`]),
    );
  });
});

describe('the allocation', () => {
  it('is all data if the file system does not report holes', async () => {
    const posix = { ...native, seekNow: () => -EOPNOTSUPP, seek: async () => -EOPNOTSUPP };
    const { device } = await openScratch({ content: MIB, posix });
    expect(await allocationOf(device, 512)).toEqual([[MIB - 512, DATA]]);
    expect(device.holeNow(0, MIB)).toBe(0);
  });

  it('searches for the end of a long run of data only once', async () => {
    let searches = 0;
    const posix = {
      ...native,
      seek: (...[fd, offset, whence]: Parameters<typeof native.seek>) => {
        if (whence === SEEK_HOLE) searches++;
        return native.seek(fd, offset, whence);
      },
    };
    const { device } = await openScratch({ place: 'tmpfs', content: Buffer.alloc(4 * MIB, 'x'), posix });
    for (let offset = 0; offset < 4 * MIB; offset += MIB) {
      expect(await allocationOf(device, offset, MIB)).toEqual([[MIB, DATA]]);
    }
    expect(searches).toBe(1);
  });
});

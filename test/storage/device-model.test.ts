import * as fc from 'fast-check';
import { describe, it } from 'vitest';
import { assert } from '../../src/base/assert.js';
import { EOPNOTSUPP, OK } from '../../src/base/errno.js';
import { silentLog } from '../../src/base/log.js';
import { KIB } from '../../src/base/units.js';
import { ALLOCATION_HOLE, ALLOCATION_ZERO, type BlockDevice } from '../../src/storage/device/block-device.js';
import { openDisk } from '../../src/storage/image/open-disk.js';
import { allocationOf, contentOf, expectSame, put } from '../support/device-content.js';
import { MemoryDevice } from '../support/memory-device.js';
import { propertyRuns } from '../support/property.js';
import { native, writeImage } from '../support/scratch-device.js';

const DISK_BYTES = 256 * KIB;

/** Applies the same changes to a device and to a plain array of bytes, and compares the two. */
class Model {
  private readonly bytes = Buffer.alloc(DISK_BYTES);

  constructor(private readonly device: BlockDevice) {}

  async write(offset: number, length: number, fill: number): Promise<void> {
    this.bytes.fill(fill, offset, offset + length);
    await put(this.device, offset, Buffer.alloc(length, fill));
  }

  async zero(offset: number, length: number, keepAllocated: boolean, fastOnly: boolean): Promise<void> {
    const errno = await this.device.zero(offset, length, { keepAllocated, fastOnly });
    if (errno === EOPNOTSUPP && fastOnly) return;
    assert(errno === OK, `zero gave ${errno}`);
    this.bytes.fill(0, offset, offset + length);
  }

  async trim(offset: number, length: number): Promise<void> {
    assert((await this.device.trim(offset, length)) === OK, 'trim failed');
    const content = await contentOf(this.device, offset, length);
    for (const [index, byte] of content.entries()) {
      assert(byte === 0 || byte === this.bytes[offset + index], 'trimmed to neither the old content nor zeroes');
    }
    content.copy(this.bytes, offset);
  }

  async compare(offset: number, length: number): Promise<void> {
    expectSame(await contentOf(this.device, offset, length), this.bytes.subarray(offset, offset + length));
    this.assertZeroes(offset, this.device.holeNow(offset, length));
    let position = offset;
    for (const [bytes, status] of await allocationOf(this.device, offset, length)) {
      if (status & (ALLOCATION_HOLE | ALLOCATION_ZERO)) this.assertZeroes(position, bytes);
      position += bytes;
    }
    assert(position === offset + length, 'the allocation covers the range');
  }

  private assertZeroes(offset: number, length: number): void {
    const bytes = this.bytes.subarray(offset, offset + length);
    assert(
      bytes.every((byte) => byte === 0),
      'a hole is shown where there is data',
    );
  }
}

type Step = (model: Model) => Promise<void>;

/** Ranges at any alignment, and ranges of whole pages. */
const range = fc.oneof(
  ...[1, 4 * KIB].map((unit) => {
    const units = DISK_BYTES / unit;
    return fc
      .tuple(fc.nat(units - 1), fc.integer({ min: 1, max: units }))
      .map(([start, count]) => ({ offset: start * unit, length: Math.min(count, units - start) * unit }));
  }),
);

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.tuple(range, fc.integer({ min: 1, max: 255 })).map(
    ([{ offset, length }, fill]): Step =>
      (model) =>
        model.write(offset, length, fill),
  ),
  fc.tuple(range, fc.boolean(), fc.boolean()).map(
    ([{ offset, length }, keep, fast]): Step =>
      (model) =>
        model.zero(offset, length, keep, fast),
  ),
  range.map(
    ({ offset, length }): Step =>
      (model) =>
        model.trim(offset, length),
  ),
  range.map(
    ({ offset, length }): Step =>
      (model) =>
        model.compare(offset, length),
  ),
);

async function followsModel(open: () => Promise<BlockDevice>): Promise<void> {
  const property = fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
    const device = await open();
    const model = new Model(device);
    for (const take of steps) await take(model);
    await model.compare(0, DISK_BYTES);
    await device.close();
  });
  await fc.assert(property, propertyRuns(40));
}

describe('any sequence of changes gives the same result as on a plain array of bytes', () => {
  it('in a memory device', () => followsModel(async () => new MemoryDevice(DISK_BYTES)));

  it.each([
    { place: 'tmpfs', calls: 'native calls', posix: native },
    { place: 'disk', calls: 'native calls', posix: native },
    { place: 'tmpfs', calls: "Node's calls", posix: undefined },
    { place: 'disk', calls: "Node's calls", posix: undefined },
  ] as const)('in a file on $place, with $calls', async ({ place, posix }) => {
    const open = () =>
      openDisk({ path: writeImage({ place, content: DISK_BYTES }), readOnly: false, posix, log: silentLog });
    await followsModel(open);
  });
});

import { describe, expect, test } from 'vitest';
import { DiskClaims } from '../../src/server/disk-claims.js';
import type { DiskFootprint } from '../../src/storage/image/disk-footprint.js';

const claim = (exportName: string, footprint: DiskFootprint, readOnly = false) => ({
  exportName,
  path: `/${exportName}.img`,
  readOnly,
  footprint,
});

const disk: DiskFootprint = { same: ['sda'], within: [] };
const partition = (number: number): DiskFootprint => ({ same: [`sda${number}`], within: ['sda'] });
const volume = (name: string): DiskFootprint => ({ same: [name], within: ['sda2', 'sda'] });
const file: DiskFootprint = { same: ['1:7'], within: [] };
const loop: DiskFootprint = { same: ['loop0', '1:7'], within: [] };
const loopPartition: DiskFootprint = { same: ['loop0p1'], within: ['loop0', '1:7'] };

describe('the claims of two disks', () => {
  test.each<[what: string, one: DiskFootprint, other: DiskFootprint, expected: boolean]>([
    ['a disk and its partition', disk, partition(1), true],
    ['two partitions', partition(1), partition(2), false],
    ['a volume and the partition under it', volume('dm-0'), partition(2), true],
    ['a volume and the other partition', volume('dm-0'), partition(1), false],
    ['two volumes', volume('dm-0'), volume('dm-1'), false],
    ['a file and its loop device', file, loop, true],
    ['a file and a partition in it', file, loopPartition, true],
    ['a loop device and its partition', loop, loopPartition, true],
    ['two loop devices of one file', loop, { ...loop, same: ['loop1', '1:7'] }, true],
    ['a file and a disk', file, disk, false],
  ])('%s', (_what, one, other, expected) => {
    for (const [first, second] of [
      [one, other],
      [other, one],
    ] as const) {
      const claims = new DiskClaims();
      const release = claims.take(claim('first', first));
      const taking = () => claims.take(claim('second', second));
      if (expected) expect(taking).toThrow('as "first"');
      else taking();
      release();
      if (expected) taking();
    }
  });
});

test('only readers share a disk', () => {
  const claims = new DiskClaims();
  claims.take(claim('one reader', file, true));
  claims.take(claim('another reader', file, true));
  expect(() => claims.take(claim('writer', file))).toThrow('as "one reader"');
});

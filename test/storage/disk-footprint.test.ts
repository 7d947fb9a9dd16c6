import { describe, expect, test } from 'vitest';
import { type DiskFootprint, overlaps } from '../../src/storage/image/disk-footprint.js';
import { packDevice, sysfsFolder } from '../../src/storage/image/sysfs.js';

const disk: DiskFootprint = { same: ['sda'], within: [] };
const partition = (number: number): DiskFootprint => ({ same: [`sda${number}`], within: ['sda'] });
const volume = (name: string): DiskFootprint => ({ same: [name], within: ['sda2', 'sda'] });
const file: DiskFootprint = { same: ['1:7'], within: [] };
const loop: DiskFootprint = { same: ['loop0', '1:7'], within: [] };
const loopPartition: DiskFootprint = { same: ['loop0p1'], within: ['loop0', '1:7'] };

describe('two disks', () => {
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
    expect(overlaps(one, other)).toBe(expected);
    expect(overlaps(other, one)).toBe(expected);
  });
});

test.each(['8:1', '259:0', '7:300', '5000:70000'])('the number %s is packed as in stat', (text) => {
  expect(sysfsFolder(packDevice(text))).toBe(`/sys/dev/block/${text}`);
});

import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { type DiskIdentity, otherDisk } from '../../src/storage/image/disk-identity.js';
import { readSerial } from '../../src/storage/image/sysfs.js';
import { scratchFolder } from '../support/scratch-folder.js';

const device: DiskIdentity = { kind: 'block device', id: '2064', sizeBytes: 512 };

test('a block device is also recognised by its serial number, if it had one both times', () => {
  expect(otherDisk({ ...device, serial: 'a' }, { ...device, serial: 'b' })).toBe('another disk, b, is in its place');
  expect(otherDisk({ ...device, serial: 'a' }, { ...device, serial: 'a' })).toBeUndefined();
  expect(otherDisk({ ...device, serial: 'a' }, device)).toBeUndefined();
  expect(otherDisk(device, { ...device, serial: 'a' })).toBeUndefined();
});

test('a file that reuses an inode is recognised by its creation time, if that is known', () => {
  const file: DiskIdentity = { kind: 'file', id: '1:2', sizeBytes: 512, madeAt: '1000000000' };
  expect(otherDisk(file, { ...file, madeAt: '2000000000' })).toMatch(/^another file, created at 1970-01-01T00:00:02/);
  const { madeAt, ...untold } = file;
  expect(otherDisk(file, untold)).toBeUndefined();
  const asChanged = (time: string): DiskIdentity => ({ ...file, madeAt: time, changedAt: time });
  expect(otherDisk(asChanged('1'), asChanged('2'))).toBeUndefined();
});

/** Makes a folder like that of a disk in sysfs, with a folder for its partition inside. */
function sysfs(attributes: Readonly<Record<string, string>>): { disk: string; partition: string } {
  const disk = scratchFolder();
  for (const [name, text] of Object.entries({ ...attributes, 'sda1/partition': '1\n' })) {
    mkdirSync(dirname(join(disk, name)), { recursive: true });
    writeFileSync(join(disk, name), text);
  }
  return { disk, partition: join(disk, 'sda1') };
}

test.each([
  [{ 'dm/uuid': 'LVM-abc\n', 'device/serial': 'x' }, 'LVM-abc'],
  [{ wwid: 'eui.01\n' }, 'eui.01'],
  [{ 'device/wwid': 'naa.5\n' }, 'naa.5'],
  [{ serial: 'vd-7\n' }, 'vd-7'],
  [{ serial: '\n' }, undefined],
  [{}, undefined],
])('sysfs with %j gives the serial %s', async (attributes, serial) => {
  const { disk, partition } = sysfs(attributes);
  expect(await readSerial(disk)).toBe(serial);
  expect(await readSerial(partition)).toBe(serial && `${serial}, partition 1`);
});

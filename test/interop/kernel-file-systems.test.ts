// File systems on Linux's own NBD client: everything that the guest's kernel wrote must be in the image, and nothing
// else in the bitmap.

import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { MIB } from '../../src/base/units.js';
import { NbdGuest } from '../guest/nbd-guest.js';
import { notCovered, PatternDisk, totalBytes } from '../guest/pattern-disk.js';
import { run } from '../support/run.js';
import { scratchFolder } from '../support/scratch-folder.js';

const LIMIT_MILLISECONDS = 170_000;
const BLOB_BYTES = 24 * MIB;

const sha256 = (data: Buffer) => createHash('sha256').update(data).digest('hex');

/** Fills /mnt with one large file and small ones of many sizes, each of them synced. */
const writeFiles = [
  'mkdir -p /mnt/large /mnt/small',
  'cp /tmp/blob /mnt/large/blob',
  'for i in $(seq 40); do dd if=/tmp/blob of=/mnt/small/$i bs=1000 skip=$((i * 7)) count=$((i * 3)) conv=fsync; done',
].join(' && ');

let guest: NbdGuest;

beforeAll(async () => {
  guest = await NbdGuest.start();
  await guest.run(`dd if=/dev/urandom of=/tmp/blob bs=1M count=${BLOB_BYTES / MIB}`);
}, LIMIT_MILLISECONDS);
afterAll(() => guest?.kill());

/** The sorted output of sha256sum for the files in the guest's /mnt. */
async function sumsInGuest(): Promise<string[]> {
  const sums = await guest.run('cd /mnt && find . -type f | xargs sha256sum');
  return sums.trim().split('\n').sort();
}

/** The same for the files in an image of an ext4 file system. */
async function sumsInImage(image: string): Promise<string[]> {
  const folder = join(scratchFolder(), 'files');
  mkdirSync(folder);
  await run('debugfs', '-R', `rdump / ${folder}`, image);
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((path) => statSync(join(folder, path)).isFile())
    .map((path) => `${sha256(readFileSync(join(folder, path)))}  ./${path}`)
    .sort();
}

test.each([512, 4096])('ext4, on a device with blocks of %i bytes', { timeout: LIMIT_MILLISECONDS }, async (block) => {
  const disk = await PatternDisk.attach(guest, 128 * MIB, ['-block-size', String(block)]);
  expect(await guest.run(`cat /sys/block/${disk.name}/queue/logical_block_size`)).toBe(`${block}\n`);
  await guest.run(`mke2fs -q -F -t ext4 -E nodiscard ${disk.device} && mount ${disk.device} /mnt`);
  await guest.run(writeFiles);
  const sums = await sumsInGuest();
  await guest.run(`umount /mnt && e2fsck -fn ${disk.device}`);
  await disk.detach();

  expect(sums).toHaveLength(41);
  expect(await sumsInImage(disk.image)).toEqual(sums);
  await run('e2fsck', '-fn', disk.image);
  expect(await disk.dirtyRanges()).toEqual(disk.changedRanges());
});

test('XFS', { timeout: LIMIT_MILLISECONDS }, async () => {
  // The smallest size that mkfs.xfs accepts.
  const disk = await PatternDisk.attach(guest, 300 * MIB);
  await guest.run(`mkfs.xfs -q -f -K ${disk.device} && mount ${disk.device} /mnt`);
  await guest.run(writeFiles);
  const sums = await sumsInGuest();
  const map = await guest.run('sync; xfs_io -r -c fiemap /mnt/large/blob');
  await guest.run(`umount /mnt && xfs_repair -n ${disk.device}`);
  await disk.detach();

  const image = readFileSync(disk.image);
  // Lines such as "0: [0..49151]: 1096..50247", in sectors.
  const extents = [...map.matchAll(/\]: (\d+)\.\.(\d+)/g)].map(([, first, last]) =>
    image.subarray(Number(first) * 512, (Number(last) + 1) * 512),
  );
  expect(sums).toContain(`${sha256(Buffer.concat(extents))}  ./large/blob`);
  expect(await disk.dirtyRanges()).toEqual(disk.changedRanges());

  // Now the files cannot come from a cache.
  const again = await guest.attach('disk', disk.server.port);
  await guest.run(`mount -o ro,norecovery ${again} /mnt`);
  expect(await sumsInGuest()).toEqual(sums);
  await guest.run(`umount /mnt; nbd-client -d ${again}`);
});

test('fstrim frees the space of deleted files, and that is a change', { timeout: LIMIT_MILLISECONDS }, async () => {
  const disk = await PatternDisk.attach(guest, 128 * MIB);
  await guest.run(`mke2fs -q -F -t ext4 -E nodiscard ${disk.device} && mount ${disk.device} /mnt`);
  await guest.run(`${writeFiles} && sync && rm /mnt/large/blob && sync`);
  await disk.clearBitmap();
  const allocatedBefore = disk.allocatedBytes;
  await guest.run('fstrim /mnt && sync');
  const sums = await sumsInGuest();
  await guest.run('umount /mnt');
  await disk.detach();

  expect(allocatedBefore - disk.allocatedBytes).toBeGreaterThan(BLOB_BYTES);
  expect(sums).toHaveLength(40);
  expect(await sumsInImage(disk.image)).toEqual(sums);
  const [changed, dirty] = [disk.changedRanges(), await disk.dirtyRanges()];
  expect(notCovered(changed, dirty)).toEqual([]);
  // Metadata may be rewritten without a change.
  expect(totalBytes(dirty) - totalBytes(changed)).toBeLessThan(2 * MIB);
});

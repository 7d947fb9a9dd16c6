// A block device of Linux's own NBD client, without a file system: which requests reach the server, and their effect.

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { KIB, MIB } from '../../src/base/units.js';
import { NbdGuest } from '../guest/nbd-guest.js';
import { PatternDisk } from '../guest/pattern-disk.js';

const LIMIT_MILLISECONDS = 170_000;
const BLOB_BYTES = 4 * MIB;

let guest: NbdGuest;

beforeAll(async () => {
  guest = await NbdGuest.start();
  await guest.run(`dd if=/dev/urandom of=/tmp/blob bs=1M count=${BLOB_BYTES / MIB}`);
}, LIMIT_MILLISECONDS);
afterAll(() => guest?.kill());

/** Compares `length` bytes of the image at `at` with part number `part` of the guest's blob. */
async function expectBlob(disk: PatternDisk, at: number, part: number, length: number): Promise<void> {
  const sum = await guest.run(`dd if=/tmp/blob bs=${length} skip=${part} count=1 status=none | sha256sum`);
  const found = readFileSync(disk.image).subarray(at, at + length);
  expect(createHash('sha256').update(found).digest('hex'), `at ${at}`).toBe(sum.split(' ')[0]);
}

test.each([512, 4096])('direct writes of single blocks of %i bytes', { timeout: LIMIT_MILLISECONDS }, async (block) => {
  const disk = await PatternDisk.attach(guest, 16 * MIB, ['-block-size', String(block)]);
  // The first and the last block, and those on both sides of a border between granules.
  const places = [0, 3 * MIB - block, 3 * MIB, 9 * MIB + 5 * block, 16 * MIB - block];
  for (const [i, at] of places.entries()) {
    await guest.run(
      `dd if=/tmp/blob of=${disk.device} bs=${block} count=1 skip=${i} seek=${at / block} oflag=direct conv=notrunc`,
    );
  }
  await disk.detach();

  for (const [i, at] of places.entries()) await expectBlob(disk, at, i, block);
  const granule = 64 * KIB;
  expect(await disk.dirtyRanges()).toEqual([
    { offset: 0, length: granule },
    { offset: 3 * MIB - granule, length: 2 * granule },
    { offset: 9 * MIB, length: granule },
    { offset: 16 * MIB - granule, length: granule },
  ]);
  expect(disk.changedRanges()).toEqual(await disk.dirtyRanges());
});

test.each(['blkdiscard', 'blkdiscard -z'])(
  '%s leaves zeroes there and nowhere else',
  { timeout: LIMIT_MILLISECONDS },
  async (command) => {
    const disk = await PatternDisk.attach(guest, 16 * MIB);
    await guest.run(`${command} -o ${MIB + 4 * KIB} -l ${2 * MIB} ${disk.device} && sync`);
    await disk.detach();

    const image = readFileSync(disk.image);
    const [start, end] = [MIB + 4 * KIB, 3 * MIB + 4 * KIB];
    expect(image.subarray(start, end).equals(Buffer.alloc(end - start))).toBe(true);
    expect(image[start - 1]).not.toBe(0);
    expect(image[end]).not.toBe(0);
    expect(await disk.dirtyRanges()).toEqual([{ offset: MIB, length: 2 * MIB + 64 * KIB }]);
    expect(disk.changedRanges()).toEqual(await disk.dirtyRanges());
  },
);

test('discarded space is given back', { timeout: LIMIT_MILLISECONDS }, async () => {
  const disk = await PatternDisk.attach(guest, 16 * MIB);
  await guest.run(`blkdiscard ${disk.device}`);
  await disk.detach();
  expect(disk.allocatedBytes).toBe(0);
  expect(await disk.dirtyRanges()).toEqual([{ offset: 0, length: 16 * MIB }]);
});

test('two connections, written to by two programs at the same time', { timeout: LIMIT_MILLISECONDS }, async () => {
  const disk = await PatternDisk.attach(guest, 16 * MIB, ['-connections', '2']);
  expect(await disk.connections()).toBe(2);
  // The kernel gives each processor one of the connections.
  const write = (processor: number, seek: number) =>
    `taskset -c ${processor} dd if=/tmp/blob of=${disk.device} bs=64k seek=${seek} oflag=direct conv=notrunc,fsync & pids="$pids $!"`;
  await guest.run(`pids=; ${write(0, 0)}; ${write(1, 64)}; for pid in $pids; do wait $pid || exit 1; done`);
  await disk.detach();

  await expectBlob(disk, 0, 0, BLOB_BYTES);
  await expectBlob(disk, 4 * MIB, 0, BLOB_BYTES);
  expect(await disk.dirtyRanges()).toEqual([{ offset: 0, length: 8 * MIB }]);
  expect(disk.changedRanges()).toEqual(await disk.dirtyRanges());
  const written = disk.bytesWrittenByConnection();
  expect(written).toEqual([BLOB_BYTES, BLOB_BYTES]);
});

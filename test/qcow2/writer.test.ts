import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { GIB, KIB, MIB } from '../../src/base/units.js';
import { AppendFile, createTarget } from '../../src/qcow2/append-file.js';
import { Qcow2Chain } from '../../src/qcow2/chain.js';
import { checkImage } from '../../src/qcow2/check-image.js';
import { CLUSTER_BYTES } from '../../src/qcow2/clusters.js';
import { Qcow2Writer } from '../../src/qcow2/writer.js';
import { applyTo, type ClusterContent, checksumByHand, randomContents, writeImage } from '../support/qcow2-files.js';
import { Random, testSeed } from '../support/random.js';
import { run } from '../support/run.js';
import { scratchFolder } from '../support/scratch-folder.js';

/** The disk as Qcow2Chain reads it. */
async function readChain(path: string): Promise<Buffer> {
  await using chain = await Qcow2Chain.open(path);
  const disk = Buffer.alloc(chain.sizeBytes, 0xee);
  for await (const { offset, length, image, fileOffset } of chain.runs()) {
    if (image) await image.read(fileOffset, length, disk.subarray(offset, offset + length));
    else disk.fill(0, offset, offset + length);
  }
  return disk;
}

/** The disk as QEMU reads it. */
async function convert(path: string): Promise<Buffer> {
  const raw = join(scratchFolder(), 'disk.img');
  await run('qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw', path, raw);
  return readFileSync(raw);
}

async function expectSound(path: string): Promise<void> {
  await checkImage(path);
  const check = JSON.parse(await run('qemu-img', 'check', '--output=json', '-f', 'qcow2', path));
  expect(check).toMatchObject({ 'check-errors': 0 });
  expect(check.leaks ?? 0).toBe(0);
  expect(check.corruptions ?? 0).toBe(0);
}

test('an image has the checksum and the size that the writer reports', async () => {
  const path = join(scratchFolder(), 'a.qcow2');
  const written = await writeImage(path, 3 * CLUSTER_BYTES, [7, 'skip', 9]);
  expect(written).toMatchObject({ checksum: await checksumByHand(path), fileBytes: statSync(path).size });
  expect(written).toMatchObject({ dataBytes: 2 * CLUSTER_BYTES, zeroBytes: 0 });
});

test('an empty disk is a valid image', async () => {
  const path = join(scratchFolder(), 'a.qcow2');
  await writeImage(path, 10 * MIB, []);
  await expectSound(path);
  expect((await convert(path)).equals(Buffer.alloc(10 * MIB))).toBe(true);
});

test('zeroes take no space without a backing file, and hide the data of one', async () => {
  const folder = scratchFolder();
  const [base, top] = [join(folder, 'a.qcow2'), join(folder, 'b.qcow2')];
  const full = await writeImage(base, 4 * CLUSTER_BYTES, [1, 'zero', 0, 2]);
  expect(full).toMatchObject({ dataBytes: 2 * CLUSTER_BYTES, zeroBytes: 0 });
  const increment = await writeImage(top, 4 * CLUSTER_BYTES, ['zero', 3, 'skip', 0], 'a.qcow2');
  expect(increment).toMatchObject({ dataBytes: CLUSTER_BYTES, zeroBytes: 2 * CLUSTER_BYTES });
  const expected = Buffer.alloc(4 * CLUSTER_BYTES);
  expected.fill(3, CLUSTER_BYTES, 2 * CLUSTER_BYTES);
  expect((await convert(top)).equals(expected)).toBe(true);
  expect((await readChain(top)).equals(expected)).toBe(true);
});

test('an image names its backing file without the folder', async () => {
  const folder = scratchFolder();
  await writeImage(join(folder, 'a.qcow2'), MIB, [1]);
  await writeImage(join(folder, 'b.qcow2'), MIB, ['skip', 2], 'a.qcow2');
  const info = JSON.parse(await run('qemu-img', 'info', '--output=json', join(folder, 'b.qcow2')));
  expect(info).toMatchObject({ 'backing-filename': 'a.qcow2', 'backing-filename-format': 'qcow2' });
});

describe('chains at random', () => {
  test.each([16 * MIB, 16 * MIB - 512, 5 * MIB + 40 * KIB])('of %i bytes read as they were written', async (size) => {
    const random = new Random(testSeed());
    const folder = scratchFolder();
    const disk = Buffer.alloc(Math.ceil(size / CLUSTER_BYTES) * CLUSTER_BYTES);
    let backing: string | undefined;
    for (const name of ['a.qcow2', 'b.qcow2', 'c.qcow2', 'd.qcow2']) {
      const contents = randomContents(random, disk.length / CLUSTER_BYTES);
      await writeImage(join(folder, name), size, contents, backing);
      applyTo(disk, contents);
      await expectSound(join(folder, name));
      const expected = disk.subarray(0, size);
      expect((await convert(join(folder, name))).equals(expected), `${name}, seed ${random.seed}`).toBe(true);
      expect((await readChain(join(folder, name))).equals(expected), `${name}, seed ${random.seed}`).toBe(true);
      backing = name;
    }
  });

  test('a disk can grow and shrink from image to image', async () => {
    const folder = scratchFolder();
    const sizes = [4, 2, 6, 5].map((mebibytes) => mebibytes * MIB);
    const disk = Buffer.alloc(6 * MIB);
    for (const [index, size] of sizes.entries()) {
      const contents: ClusterContent[] = Array(size / CLUSTER_BYTES).fill(index === 0 ? 1 : 'skip');
      contents[index] = 10 + index;
      await writeImage(join(folder, `${index}.qcow2`), size, contents, index > 0 ? `${index - 1}.qcow2` : undefined);
      applyTo(disk, contents);
      disk.fill(0, size);
      const path = join(folder, `${index}.qcow2`);
      expect((await convert(path)).equals(disk.subarray(0, size)), `${index}`).toBe(true);
      expect((await readChain(path)).equals(disk.subarray(0, size)), `${index}`).toBe(true);
    }
  });
});

test('a disk of several TiB with little data is a small, valid image', async () => {
  const path = join(scratchFolder(), 'a.qcow2');
  const contents: ClusterContent[] = ['skip', 5];
  contents[(3 * GIB) / CLUSTER_BYTES] = 6;
  const sparse = Array.from(contents, (content) => content ?? 'skip');
  const { fileBytes } = await writeImage(path, 4096 * GIB, sparse);
  expect(fileBytes).toBeLessThan(2 * MIB);
  await expectSound(path);
});

test('a cluster without a place is a bug, not an entry of the image', async () => {
  const file = new AppendFile(await createTarget(join(scratchFolder(), 'a.qcow2')));
  onTestFinished(() => file.close());
  const writer = new Qcow2Writer(file, CLUSTER_BYTES);
  const placed = { positions: new Float64Array([-1]), hashes: new BigUint64Array(1) };
  expect(() => writer.place(0, placed)).toThrow('every cluster has its place');
});

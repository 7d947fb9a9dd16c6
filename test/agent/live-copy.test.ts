import { randomFillSync } from 'node:crypto';
import { type FileHandle, open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { LiveCopy } from '../../src/agent/live-copy.js';
import { AppendFile, createTarget } from '../../src/qcow2/append-file.js';
import { hashCluster } from '../../src/qcow2/cluster-hash.js';
import { CLUSTER_BYTES } from '../../src/qcow2/clusters.js';
import { scratchFolder } from '../support/scratch-folder.js';

const CLUSTERS = 64;
const SIZE_BYTES = CLUSTERS * CLUSTER_BYTES;

interface Changed {
  readonly offset: number;
  readonly length: number;
}

/** A view, and its live disk of `diskClusters`, of which parts were overwritten since. */
async function scene({ changed = [] as Changed[], diskClusters = CLUSTERS, zero = [] as number[] }) {
  const view = randomFillSync(Buffer.alloc(SIZE_BYTES));
  for (const cluster of zero) view.fill(0, cluster * CLUSTER_BYTES, (cluster + 1) * CLUSTER_BYTES);
  const disk = Buffer.from(view);
  for (const { offset, length } of changed) randomFillSync(disk, offset, length);
  const folder = scratchFolder();
  await writeFile(join(folder, 'disk.img'), disk.subarray(0, diskClusters * CLUSTER_BYTES));
  const source: FileHandle = await open(join(folder, 'disk.img'));
  const file = new AppendFile(await createTarget(join(folder, 'image')));
  const reads: Changed[] = [];
  const copy = new LiveCopy(
    {
      fd: source.fd,
      async *overwritten(offset, length) {
        const end = offset + length;
        for (const extent of changed.filter((range) => range.offset < end && range.offset + range.length > offset)) {
          yield { ...extent, status: 1 };
        }
      },
    },
    {
      pieceBytes: 8 * CLUSTER_BYTES,
      async read(offset, length) {
        reads.push({ offset, length });
        return view.subarray(offset, offset + length);
      },
    },
    file,
  );
  onTestFinished(async () => {
    await copy[Symbol.asyncDispose]();
    await Promise.all([file.close(), source.close()]);
  });
  return {
    ...{ view, reads, copy, file },
    /** The clusters as they are in the file. */
    async placed(positions: Float64Array): Promise<Buffer> {
      const image = await readFile(join(folder, 'image'));
      const zeroes = Buffer.alloc(CLUSTER_BYTES);
      return Buffer.concat([...positions].map((at) => (at === 0 ? zeroes : image.subarray(at, at + CLUSTER_BYTES))));
    },
  };
}

test('data that is not overwritten is not read from the view', async () => {
  const { copy, reads, view, placed } = await scene({ zero: [3, 4, 63] });
  const { positions } = await copy.copy(0, SIZE_BYTES);
  expect((await placed(positions)).equals(view)).toBe(true);
  expect([positions[3], positions[4], positions[63]]).toEqual([0, 0, 0]);
  expect(reads).toEqual([]);
});

test('overwritten data, from one byte to many clusters, comes from the view', async () => {
  const changed = [
    { offset: 5 * CLUSTER_BYTES + 100, length: 1 },
    { offset: 7 * CLUSTER_BYTES - 1, length: 2 },
    { offset: 20 * CLUSTER_BYTES, length: 20 * CLUSTER_BYTES },
  ];
  const { copy, reads, view, placed } = await scene({ changed, zero: [25, 30] });
  const { positions } = await copy.copy(0, SIZE_BYTES);
  expect((await placed(positions)).equals(view)).toBe(true);
  const clusters = reads.map(({ offset, length }) => [offset / CLUSTER_BYTES, length / CLUSTER_BYTES]);
  expect(clusters).toEqual([
    [5, 3],
    [20, 8],
    [28, 8],
    [36, 4],
  ]);
});

test('data that cannot be read from the disk is read from the view', async () => {
  const { copy, view, placed, reads } = await scene({ diskClusters: 40, zero: [50] });
  const { positions } = await copy.copy(32 * CLUSTER_BYTES, 32 * CLUSTER_BYTES);
  expect((await placed(positions)).equals(view.subarray(32 * CLUSTER_BYTES))).toBe(true);
  expect(positions[50 - 32]).toBe(0);
  expect(reads.map(({ offset }) => offset / CLUSTER_BYTES)).toEqual([40, 48, 56]);
});

test('each cluster has its own position and the hash of its data', async () => {
  const { copy, file, view } = await scene({ changed: [{ offset: 0, length: 10 * CLUSTER_BYTES }] });
  const { positions, hashes } = await copy.copy(0, SIZE_BYTES);
  expect(new Set(positions).size).toBe(CLUSTERS);
  expect(Math.max(...positions)).toBe(file.end.position - CLUSTER_BYTES);
  const expected = [...positions].map((position, cluster) =>
    hashCluster(view.subarray(cluster * CLUSTER_BYTES, (cluster + 1) * CLUSTER_BYTES), position),
  );
  expect([...hashes]).toEqual(expected);
});

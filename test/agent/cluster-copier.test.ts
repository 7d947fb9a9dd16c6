import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, onTestFinished, test } from 'vitest';
import { ClusterCopier } from '../../src/agent/cluster-copier.js';
import { ClusterPlacer, UNREAD_CLUSTER } from '../../src/agent/cluster-placer.js';
import { hashCluster, loadHash } from '../../src/qcow2/cluster-hash.js';
import { CLUSTER_BYTES } from '../../src/qcow2/clusters.js';
import { FileEnd } from '../../src/qcow2/file-end.js';
import { scratchFolder } from '../support/scratch-folder.js';

beforeAll(loadHash);

function openFile(path: string, flags: string): number {
  const fd = openSync(path, flags);
  onTestFinished(() => closeSync(fd));
  return fd;
}

/** A disk of clusters, each filled with one byte, and an empty target. */
function scene(clusters: readonly number[], targetPath = join(scratchFolder(), 'image')) {
  const disk = join(scratchFolder(), 'disk.img');
  writeFileSync(disk, Buffer.concat(clusters.map((value) => Buffer.alloc(CLUSTER_BYTES, value))));
  const end = FileEnd.afterHeader();
  const placer = new ClusterPlacer(openFile(targetPath, 'w'), end);
  return { targetPath, end, copier: new ClusterCopier(openFile(disk, 'r'), placer) };
}

test('data gets a position after the header and a hash; zeroes get no position', () => {
  const { copier, targetPath, end } = scene([9, 1, 0, 2, 3, 4, 0, 0, 5]);
  const { positions, hashes } = copier.copy(CLUSTER_BYTES, 8 * CLUSTER_BYTES);
  expect([...positions]).toEqual([1, 0, 2, 3, 4, 0, 0, 5].map((cluster) => cluster * CLUSTER_BYTES));
  expect(end.position).toBe(6 * CLUSTER_BYTES);
  const file = readFileSync(targetPath);
  for (const [cluster, position] of positions.entries()) {
    if (position === 0) continue;
    const content = file.subarray(position, position + CLUSTER_BYTES);
    expect(content.equals(Buffer.alloc(CLUSTER_BYTES, [1, 0, 2, 3, 4, 0, 0, 5][cluster]))).toBe(true);
    expect(hashes[cluster]).toBe(hashCluster(content, position));
  }
});

test('it writes where other writers have left space', () => {
  const { copier, end } = scene([1, 2]);
  expect(end.take(3 * CLUSTER_BYTES)).toBe(CLUSTER_BYTES);
  expect([...copier.copy(0, 2 * CLUSTER_BYTES).positions]).toEqual([4 * CLUSTER_BYTES, 5 * CLUSTER_BYTES]);
});

test('unreadable clusters get no position, the others do', () => {
  const { copier } = scene([1, 2, 3]);
  const { positions } = copier.copy(0, 6 * CLUSTER_BYTES);
  expect([...positions.subarray(0, 2)]).toEqual([CLUSTER_BYTES, 2 * CLUSTER_BYTES]);
  expect([...positions.subarray(2)]).toEqual(Array(4).fill(UNREAD_CLUSTER));
});

test('a full target is a system error', () => {
  const { copier } = scene([1], '/dev/full');
  expect(() => copier.copy(0, CLUSTER_BYTES)).toThrow(expect.objectContaining({ code: 'ENOSPC' }));
});

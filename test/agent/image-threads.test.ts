import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ChainChecksums } from '../../src/agent/chain-checksums.js';
import { copyChain } from '../../src/agent/copy-chain.js';
import { readChecksum } from '../../src/agent/image-checksum.js';
import { ImageThreads } from '../../src/agent/image-threads.js';
import { ImageWorker } from '../../src/agent/image-worker.js';
import { prune } from '../../src/agent/prune.js';
import { openRestoreTarget } from '../../src/agent/restore-target.js';
import { verify } from '../../src/agent/verify.js';
import { KIB, MIB } from '../../src/base/units.js';
import { Qcow2Chain } from '../../src/qcow2/chain.js';
import { CLUSTER_BYTES } from '../../src/qcow2/clusters.js';
import { Qcow2Error } from '../../src/qcow2/image-file.js';
import { diskWith, pullScene, quiet } from '../support/pull-scene.js';
import { applyTo, checksumByHand, randomContents, writeImage } from '../support/qcow2-files.js';
import { Random, testSeed } from '../support/random.js';
import { scratchFolder } from '../support/scratch-folder.js';

/** Threads are used however little there is to do. */
const inThreads = { ...quiet, worthThreadsBytes: 0 };

test('threads restore any chain, up to a last cluster that is not whole', async () => {
  const random = new Random(testSeed());
  for (let round = 0; round < 10; round++) {
    const folder = scratchFolder();
    const clusters = 1 + random.below(300);
    const sizeBytes = clusters * CLUSTER_BYTES - 512 * random.below(128);
    const disk = Buffer.alloc(clusters * CLUSTER_BYTES);
    for (const [name, backing] of [
      ['a', undefined],
      ['b', 'a'],
      ['c', 'b'],
    ] as const) {
      const contents = randomContents(random, clusters);
      await writeImage(join(folder, name), sizeBytes, contents, backing);
      applyTo(disk, contents);
    }
    await using chain = await Qcow2Chain.open(join(folder, 'c'));
    const path = join(folder, 'disk.img');
    const target = await openRestoreTarget(path, { sizeBytes, force: false });
    const written: number[] = [];
    const sink = {
      ...target,
      write(offset: number, data: Buffer) {
        written.push(data.length);
        return target.write(offset, data);
      },
    };
    let done: number[] = [];
    await using threads = new ImageThreads(quiet.signal);
    const checksums = new ChainChecksums(chain);
    await copyChain(chain, sink, { ...quiet, onProgress: (...args) => (done = args) }, { threads, checksums });
    for (const { path } of chain.images) checksums.expect(path, { checksum: await checksumByHand(path) });
    await target.finish();
    expect(readFileSync(path).equals(disk.subarray(0, sizeBytes))).toBe(true);
    // Only the end of the disk does not come from a thread.
    expect(written.filter((length) => length !== sizeBytes % CLUSTER_BYTES)).toEqual([]);
    expect(done[0]).toBe(done[1]);
  }
});

test('threads merge images when backups are pruned', async () => {
  const { pull, write, restored, directory } = await pullScene();
  await write(0, MIB, 1);
  await write(3 * MIB, 100 * KIB, 2);
  await pull();
  await write(512 * KIB, MIB, 3);
  await write(3 * MIB, 64 * KIB, 0);
  const { id } = await pull();
  const [pruned] = await prune(directory, { ...inThreads, policy: { last: 1 } });
  expect(pruned).toMatchObject({ merged: [id], problem: null });
  const { exports } = await verify(directory, quiet);
  expect(exports[0]!.points).toMatchObject([{ id, mode: 'full', problem: null }]);
  const disk = diskWith([0, MIB, 1], [512 * KIB, MIB, 3], [3 * MIB, 100 * KIB, 2], [3 * MIB, 64 * KIB, 0]);
  expect((await restored()).equals(disk)).toBe(true);
});

test('threads sum the checksum of an image', async () => {
  const path = join(scratchFolder(), 'a');
  await writeImage(path, 200 * CLUSTER_BYTES, randomContents(new Random(testSeed()), 200));
  const { length } = readFileSync(path);
  const checksum = await readChecksum(path, length, quiet.signal, 0);
  expect(checksum).toBe(await checksumByHand(path));
  const damaged = readFileSync(path);
  damaged[length - 1]! ^= 1;
  writeFileSync(path, damaged);
  expect(await readChecksum(path, length, quiet.signal, 0)).not.toBe(checksum);
});

test('an image that is shorter than it was is damaged', async () => {
  const path = join(scratchFolder(), 'a');
  const { fileBytes } = await writeImage(path, 10 * CLUSTER_BYTES, Array(10).fill(7));
  truncateSync(path, fileBytes - 1);
  await expect(readChecksum(path, fileBytes, quiet.signal, 0)).rejects.toThrow(
    new Qcow2Error(path, 'it ends too early'),
  );
});

test('an image that cannot be read is damaged', async () => {
  const path = join(scratchFolder(), 'a');
  await writeImage(path, 10 * CLUSTER_BYTES, Array(10).fill(7));
  await using file = await open(path, 'a');
  const part = { path, fd: file.fd, position: 0, length: CLUSTER_BYTES };
  const problem = expect.stringMatching(/^it cannot be read: EBADF/);
  expect(new ImageWorker().carryOut({ to: 'sum', parts: [part] })).toEqual({ damaged: { path, problem } });
});

test.each([true, false])('a cluster that a damaged table names twice is found (threads: %s)', async (isThreaded) => {
  const path = join(scratchFolder(), 'a');
  await writeImage(path, 10 * CLUSTER_BYTES, Array(10).fill(7));
  const content = readFileSync(path);
  const l2Offset = 11 * CLUSTER_BYTES;
  content.copy(content, l2Offset + 8, l2Offset, l2Offset + 8);
  writeFileSync(path, content);
  await using chain = await Qcow2Chain.open(path);
  await using threads = isThreaded ? new ImageThreads(quiet.signal) : undefined;
  const target = await openRestoreTarget(join(scratchFolder(), 'disk.img'), { sizeBytes: 0, force: false });
  const copying = copyChain(chain, target, quiet, { threads, checksums: new ChainChecksums(chain) });
  await expect(copying).rejects.toThrow(new Qcow2Error(path, 'cluster 1 is used twice'));
  await target.discard();
});

test('an interrupt ends the work of threads', async () => {
  const path = join(scratchFolder(), 'a');
  const { fileBytes } = await writeImage(path, 10 * CLUSTER_BYTES, Array(10).fill(7));
  const controller = new AbortController();
  const reading = readChecksum(path, fileBytes, controller.signal, 0);
  controller.abort(new Error('interrupted'));
  await expect(reading).rejects.toThrow('interrupted');
});

test('a full target is a system error', async () => {
  const path = join(scratchFolder(), 'a');
  await writeImage(path, 10 * CLUSTER_BYTES, Array(10).fill(7));
  await using chain = await Qcow2Chain.open(path);
  const target = await openRestoreTarget(join(scratchFolder(), 'disk.img'), { sizeBytes: 0, force: false });
  const full = { ...target, copyInThreads: () => Promise.reject(Object.assign(new Error('full'), { code: 'ENOSPC' })) };
  await using threads = new ImageThreads(quiet.signal);
  await expect(copyChain(chain, full, quiet, { threads })).rejects.toThrow(expect.objectContaining({ code: 'ENOSPC' }));
  await target.discard();
});

import { randomFillSync } from 'node:crypto';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { ReceivedCopy } from '../../src/agent/received-copy.js';
import { ViewReader } from '../../src/agent/view-reader.js';
import { EIO } from '../../src/base/errno.js';
import { NbdClientError } from '../../src/client/errors.js';
import { AppendFile, createTarget } from '../../src/qcow2/append-file.js';
import { hashCluster } from '../../src/qcow2/cluster-hash.js';
import { CLUSTER_BYTES } from '../../src/qcow2/clusters.js';
import { MemoryDevice } from '../support/memory-device.js';
import { DISK_BYTES, startMemoryServer } from '../support/memory-server.js';
import { scratchFolder } from '../support/scratch-folder.js';

const CONTEXT = 'qemu:dirty-bitmap:nightly';

/** A disk whose last cluster is zero, a reader of it, and an empty image. */
async function scene({ connections = 4, dirtyContext = undefined as string | undefined, device = diskOf() } = {}) {
  const { path } = await startMemoryServer([{ name: 'disk', device: device.disk, bitmaps: ['nightly'] }]);
  const controller = new AbortController();
  const { signal } = controller;
  const reader = await ViewReader.open({
    uri: `nbd+unix:///disk?socket=${path}`,
    isView: true,
    ...{ dirtyContext, connections, signal },
  });
  const imagePath = join(scratchFolder(), 'image');
  const file = new AppendFile(await createTarget(imagePath));
  const copy = await ReceivedCopy.begin(reader, file, signal);
  onTestFinished(async () => {
    await copy?.[Symbol.asyncDispose]();
    await reader[Symbol.asyncDispose]();
    await file.close();
  });
  return { copy, reader, file, controller, imagePath, content: device.content };
}

function diskOf() {
  const disk = new MemoryDevice(DISK_BYTES);
  const content = randomFillSync(Buffer.alloc(DISK_BYTES)).fill(0, DISK_BYTES - CLUSTER_BYTES);
  disk.writeNow(content, 0, content.length, 0);
  return { disk, content };
}

test('each cluster has its data, a position of its own and its hash; a cluster of zeroes has none', async () => {
  const { copy, file, imagePath, content } = await scene();
  const half = DISK_BYTES / 2;
  const parts = await Promise.all([copy!.copy(0, half), copy!.copy(half, half)]);
  const image = await readFile(imagePath);
  const positions = parts.flatMap((part) => [...part.positions]);
  const hashes = parts.flatMap((part) => [...part.hashes]);
  expect(positions.pop()).toBe(0);
  expect(new Set(positions).size).toBe(positions.length);
  expect(file.end.position).toBe(CLUSTER_BYTES * (positions.length + 1));
  for (const [cluster, position] of positions.entries()) {
    const expected = content.subarray(cluster * CLUSTER_BYTES, (cluster + 1) * CLUSTER_BYTES);
    expect(image.subarray(position, position + CLUSTER_BYTES).equals(expected)).toBe(true);
    expect(hashes[cluster]).toBe(hashCluster(expected, position));
  }
});

test('the connections that the threads do not need stay with the reader', async () => {
  const { reader, content } = await scene({ connections: 8 });
  const reads = Array.from({ length: 32 }, (_, i) => reader.read(i * CLUSTER_BYTES, CLUSTER_BYTES));
  expect(Buffer.concat(await Promise.all(reads)).equals(content.subarray(0, 32 * CLUSTER_BYTES))).toBe(true);
});

test('a full pull with one connection gives it to a thread, and still reads', async () => {
  const { copy, reader, content } = await scene({ connections: 1 });
  expect(copy).toBeDefined();
  expect((await reader.read(512, 1024)).equals(content.subarray(512, 1536))).toBe(true);
});

test('an increment keeps the connection that finds zeroes', async () => {
  const { copy } = await scene({ connections: 1, dirtyContext: CONTEXT });
  expect(copy).toBeUndefined();
  const { copy: other, reader } = await scene({ connections: 2, dirtyContext: CONTEXT });
  expect(other).toBeDefined();
  for await (const { length } of reader.plan()) expect(length).toBe(DISK_BYTES);
});

test('an error of the server reaches the caller in its words', async () => {
  const device = diskOf();
  const read = async (...[target, start, length, offset]: Parameters<MemoryDevice['read']>) =>
    offset >= DISK_BYTES / 2 ? EIO : device.disk.readNow(target, start, length, offset);
  Object.assign(device.disk, { readNow: () => -1, read: read.bind(undefined) });
  const { copy } = await scene({ device });
  const error = await copy!.copy(0, DISK_BYTES).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(NbdClientError);
  expect((error as Error).message).toMatch(/^the server failed to read \d+ bytes at \d+: EIO/);
});

test('an abort fails the copies', async () => {
  const device = diskOf();
  let begun = () => {};
  const reading = new Promise<void>((resolve) => {
    begun = resolve;
  });
  const { readNow } = device.disk;
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const read = async (...parameters: Parameters<MemoryDevice['read']>) => {
    begun();
    await held;
    return readNow.apply(device.disk, parameters);
  };
  Object.assign(device.disk, { readNow: () => -1, read });
  const { copy, controller } = await scene({ device });
  onTestFinished(release);
  const copied = copy!.copy(0, DISK_BYTES);
  await reading;
  controller.abort();
  await expect(copied).rejects.toThrow('This operation was aborted');
});

test('a file that is full is a system error', async () => {
  const { reader, controller } = await scene({ connections: 8 });
  const device = await open('/dev/full', 'w');
  onTestFinished(() => device.close());
  const full = new AppendFile({ ...(await createTarget(join(scratchFolder(), 'unused'))), fd: device.fd });
  const copy = (await ReceivedCopy.begin(reader, full, controller.signal))!;
  await expect(copy.copy(0, DISK_BYTES)).rejects.toThrow(expect.objectContaining({ code: 'ENOSPC' }));
  await copy[Symbol.asyncDispose]();
  await full.close();
});

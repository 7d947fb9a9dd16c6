import { randomFillSync } from 'node:crypto';
import { type FileHandle, open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { startCopyThreads } from '../../src/agent/copy-threads.js';
import { AppendFile, createTarget } from '../../src/qcow2/append-file.js';
import { CLUSTER_BYTES } from '../../src/qcow2/clusters.js';
import { scratchFolder } from '../support/scratch-folder.js';

const SIZE_BYTES = 64 * CLUSTER_BYTES;

async function scene() {
  const folder = scratchFolder();
  await writeFile(join(folder, 'disk.img'), randomFillSync(Buffer.alloc(SIZE_BYTES)));
  const source: FileHandle = await open(join(folder, 'disk.img'));
  const file = new AppendFile(await createTarget(join(folder, 'image')));
  onTestFinished(async () => void (await Promise.all([file.close(), source.close()])));
  return { source, file };
}

test('threads that have only just started end on request', async () => {
  const { source, file } = await scene();
  for (let round = 0; round < 20; round++) {
    const threads = startCopyThreads([{ fd: source.fd }, { fd: source.fd }], file);
    await new Promise((resolve) => setTimeout(resolve, round));
    await threads[Symbol.asyncDispose]();
    await expect(threads.run({ offset: 0, length: CLUSTER_BYTES })).rejects.toThrow('the thread has ended');
  }
});

test('threads that are ended copy only what they have started', async () => {
  const { source, file } = await scene();
  const threads = startCopyThreads([{ fd: source.fd }, { fd: source.fd }], file);
  const copies = Array.from({ length: 1000 }, () =>
    threads.run({ offset: 0, length: SIZE_BYTES }).catch(() => undefined),
  );
  await expect.poll(() => file.end.position).toBeGreaterThan(CLUSTER_BYTES);
  await threads[Symbol.asyncDispose]();
  const { position } = file.end;
  expect(position).toBeLessThan(1000 * SIZE_BYTES);
  await Promise.all(copies);
  expect(file.end.position).toBe(position);
});

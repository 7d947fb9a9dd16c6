import { execFileSync } from 'node:child_process';
import { copyFileSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { KIB, MIB } from '../../src/base/units.js';
import { tidemark } from '../support/agent.js';
import { makeDirtyImage, startNbdkit, startQemuNbd } from '../support/nbd-peers.js';
import { scratchFolder } from '../support/scratch-folder.js';

const CONTEXT = 'qemu:dirty-bitmap:nightly';

async function pull(directory: string, uri: string, ...args: string[]) {
  const { code, stdout, stderr } = await tidemark('pull', 'vm1', '--uri', uri, '--to', directory, '--json', ...args);
  expect(code, stderr).toBe(0);
  return JSON.parse(stdout).images[0];
}

async function restored(directory: string, ...args: string[]): Promise<Buffer> {
  const to = join(scratchFolder(), 'restored.img');
  const { code, stderr } = await tidemark('restore', directory, 'vm1', '--to', to, ...args);
  expect(code, stderr).toBe(0);
  return readFileSync(to);
}

test('a pull reads what the dirty bitmap of qemu-nbd reports, and changes nothing there', async () => {
  const directory = scratchFolder();
  const image = makeDirtyImage([{ offset: MIB, length: 64 * KIB, pattern: 1 }]);
  const copy = join(scratchFolder(), 'copy.qcow2');
  copyFileSync(image.path, copy);
  // Both servers are reached by the same name.
  const socket = join(scratchFolder(), 'link.sock');
  const uri = `nbd+unix:///?socket=${socket}`;
  const link = (target: string) => symlinkSync(target.slice(target.indexOf('=') + 1), socket);
  link(await startQemuNbd(copy, '--format=qcow2', '--read-only', '--bitmap=nightly'));
  const first = await pull(directory, uri, '--context', CONTEXT);
  expect(first).toMatchObject({ mode: 'full', sizeBytes: image.sizeBytes, readBytes: 64 * KIB });
  const expected = Buffer.alloc(image.sizeBytes);
  expected.fill(1, MIB, MIB + 64 * KIB);

  execFileSync('qemu-io', ['-f', 'qcow2', '-c', 'write -P 2 5M 100k', '-c', 'write -z 1M 4k', image.path]);
  rmSync(socket);
  link(await startQemuNbd(image.path, '--format=qcow2', '--read-only', '--bitmap=nightly'));
  const second = await pull(directory, uri, '--context', CONTEXT, '--since', first.id);
  expect(second).toMatchObject({ mode: 'incremental', base: first.id, baseAsserted: true, dirtyBytes: 192 * KIB });
  const after = Buffer.from(expected);
  after.fill(2, 5 * MIB, 5 * MIB + 100 * KIB);
  after.fill(0, MIB, MIB + 4 * KIB);

  expect((await restored(directory, '--at', first.id)).equals(expected)).toBe(true);
  expect((await restored(directory)).equals(after)).toBe(true);
  const again = await pull(directory, uri, '--context', CONTEXT, '--since', second.id);
  expect(again).toMatchObject({ mode: 'incremental', base: second.id, dirtyBytes: 192 * KIB });
  expect((await restored(directory)).equals(after)).toBe(true);
});

test('without --since the bitmap of qemu-nbd is ignored, and the pull is full', async () => {
  const image = makeDirtyImage([{ offset: 0, length: 4096, pattern: 1 }]);
  const uri = await startQemuNbd(image.path, '--format=qcow2', '--read-only', '--bitmap=nightly');
  const directory = scratchFolder();
  const { id } = await pull(directory, uri, '--context', CONTEXT);
  const again = await pull(directory, uri, '--context', CONTEXT);
  expect(again).toMatchObject({ mode: 'full', fullReason: { code: 'base-unknown' } });
  const unfit = await pull(directory, uri, '--context', CONTEXT, '--since', id);
  expect(unfit).toMatchObject({ mode: 'full', fullReason: { code: 'since-not-newest' } });
});

test('with --since and an empty folder the pull is full', async () => {
  const image = makeDirtyImage([{ offset: MIB, length: 64 * KIB, pattern: 1 }]);
  const uri = await startQemuNbd(image.path, '--format=qcow2', '--read-only', '--bitmap=nightly');
  const first = await pull(scratchFolder(), uri, '--context', CONTEXT);
  const elsewhere = scratchFolder();
  const alone = await pull(elsewhere, uri, '--context', CONTEXT, '--since', first.id);
  expect(alone).toMatchObject({ mode: 'full', base: null, fullReason: { code: 'nothing-here' } });
  const expected = Buffer.alloc(image.sizeBytes);
  expected.fill(1, MIB, MIB + 64 * KIB);
  expect((await restored(elsewhere)).equals(expected)).toBe(true);
});

test.each(['base:allocation', 'qemu:allocation-depth', 'tidemark:overwritten'])(
  '%s is refused as a context, because it does not say what changed',
  async (context) => {
    const image = makeDirtyImage([{ offset: 0, length: 64 * KIB, pattern: 1 }]);
    const uri = await startQemuNbd(image.path, '--format=qcow2', '--read-only', '-A');
    const directory = scratchFolder();
    const { id } = await pull(directory, uri);
    const args = ['pull', 'vm1', '--uri', uri, '--to', directory, '--context', context];
    for (const since of [[], ['--since', id]]) {
      const { code, stderr } = await tidemark(...args, ...since);
      expect(code).toBe(2);
      expect(stderr).toMatch(
        /^tidemark: --context \S+ is not a dirty bitmap: give one such as qemu:dirty-bitmap:NAME /,
      );
    }
  },
);

test('a context that the server does not have is refused', async () => {
  const directory = scratchFolder();
  const image = makeDirtyImage([]);
  const uri = await startQemuNbd(image.path, '--format=qcow2', '--read-only');
  await pull(directory, uri);
  const outcome = await tidemark('pull', 'vm1', '--uri', uri, '--context', CONTEXT, '--to', directory);
  expect(outcome).toMatchObject({ code: 1, stdout: expect.stringMatching(/^vm1: full backup: [^\n]+\n$/) });
  expect(outcome.stderr).toMatch(/^tidemark: the server has no metadata context "qemu:dirty-bitmap:nightly" .+\n$/);
});

test('a server without block status is read in full, and zeroes take no space', async () => {
  const directory = scratchFolder();
  const uri = await startNbdkit('--no-sr', 'data', '@1048576 7*65536', 'size=16M');
  expect(await pull(directory, uri)).toMatchObject({ mode: 'full', readBytes: 16 * MIB, dataBytes: 64 * KIB });
  const expected = Buffer.alloc(16 * MIB);
  expected.fill(7, MIB, MIB + 64 * KIB);
  expect((await restored(directory)).equals(expected)).toBe(true);
});

import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { repair } from '../../src/agent/repair.js';
import { restore } from '../../src/agent/restore.js';
import { UriBackupService } from '../../src/agent/uri-backup-service.js';
import { verify } from '../../src/agent/verify.js';
import { KIB, MIB } from '../../src/base/units.js';
import { diskWith, manifestOf, pullScene, quiet } from '../support/pull-scene.js';
import { checksumByHand } from '../support/qcow2-files.js';
import { run } from '../support/run.js';
import { scratchFolder } from '../support/scratch-folder.js';

/** A full backup, and then a change that the bitmap misses. */
async function missedChange() {
  const scene = await pullScene();
  await scene.write(MIB, MIB, 1);
  const { id: first } = await scene.pull();
  await scene.write(0, 64 * KIB, 2);
  scene.writeUnseen(3 * MIB + 4097, 1, 7);
  return { ...scene, first };
}

test('a chain that equals the disk is proven, and its image records that', async () => {
  const { pull, write, folder, directory, restored } = await pullScene();
  await write(MIB, MIB, 1);
  const first = await pull({ prove: true });
  await write(0, 1000 * 512, 2);
  const second = await pull({ prove: true });
  expect(first.images[0]).toMatchObject({ mode: 'full', proven: true });
  expect(second.images[0]).toMatchObject({ mode: 'incremental', base: first.id, proven: true });
  const path = join(folder, `${second.id}.qcow2`);
  expect(second.images[0]!.checksum).toBe(await checksumByHand(path));
  await run('qemu-img', 'check', path);
  // A check adds its time, which only the manifest has.
  const before = manifestOf(folder);
  expect((await verify(directory, quiet)).exports[0]!.points).toMatchObject([
    { problem: null, proven: true },
    { problem: null, proven: true },
  ]);
  expect((await restored()).equals(diskWith([MIB, MIB, 1], [0, 1000 * 512, 2]))).toBe(true);
  rmSync(join(folder, 'manifest.json'));
  await repair(directory, { exportName: undefined, dryRun: false, ...quiet });
  expect(manifestOf(folder)).toEqual(before);
});

test('a missed change fails the pull, and the image is never called good', async () => {
  const { pull, folder, directory, service, first, restored } = await missedChange();
  const problem = `it differs from the disk at byte ${3 * MIB + 4097}`;
  await expect(pull({ prove: true })).rejects.toMatchObject({
    message: expect.stringContaining(problem),
    hint: expect.stringContaining('the next pull will be full'),
  });
  const [, disproved] = manifestOf(folder).images;
  expect(disproved).toMatchObject({ base: first, damage: { foundBy: 'prove', problem } });
  expect(service.calls.at(-1)).toBe(`abort ${disproved.id}`);
  expect(service.calls).not.toContain(`commit ${disproved.id}`);
  expect(readdirSync(folder).filter((name) => name.endsWith('.partial'))).toEqual([]);

  for (let i = 0; i < 2; i++) {
    const { points } = (await verify(directory, quiet)).exports[0]!;
    expect(points.map((point) => point.problem)).toEqual([null, problem]);
  }
  const to = join(scratchFolder(), 'a.img');
  const request = { directory, exportName: 'disk', at: undefined, to, force: false, ...quiet };
  await expect(restore({ ...request, check: true })).rejects.toThrow('is not good');

  const next = await pull({ prove: true });
  expect(next.images[0]).toMatchObject({ mode: 'full', fullReason: { code: 'chain-damaged' }, proven: true });
  const expected = diskWith([MIB, MIB, 1], [0, 64 * KIB, 2], [3 * MIB + 4097, 1, 7]);
  expect((await restored()).equals(expected)).toBe(true);
});

test('an image that was disproved stays so when the manifest is lost', async () => {
  const { pull, folder, directory } = await missedChange();
  await expect(pull({ prove: true })).rejects.toThrow('is not good');
  const before = manifestOf(folder);
  rmSync(join(folder, 'manifest.json'));
  await repair(directory, { exportName: undefined, dryRun: false, ...quiet });
  expect(manifestOf(folder)).toEqual(before);
});

test('without --prove, the missed change goes unnoticed', async () => {
  const { pull, restored } = await missedChange();
  expect((await pull()).images[0]).toMatchObject({ mode: 'incremental' });
  expect((await restored()).equals(diskWith([MIB, MIB, 1], [0, 64 * KIB, 2]))).toBe(true);
});

test('an increment with an asserted base can be proven, and is then no longer asserted', async () => {
  const { pull, uri, write, writeUnseen, directory } = await pullScene();
  const context = 'qemu:dirty-bitmap:nightly';
  const pullUri = (since?: string) => pull({ prove: true }, new UriBackupService({ uri, context, since }));
  const { id } = await pullUri();
  await write(0, MIB, 1);
  const { images } = await pullUri(id);
  expect(images[0]).toMatchObject({ mode: 'incremental', baseAsserted: true, proven: true });
  const { points } = (await verify(directory, quiet)).exports[0]!;
  expect(points[1]).toMatchObject({ baseAsserted: false, proven: true });
  writeUnseen(2 * MIB, 512, 3);
  await expect(pullUri(images[0]!.id)).rejects.toThrow(`at byte ${2 * MIB}`);
});

test('if one of several exports differs, the backup is aborted and no other image is kept', async () => {
  const { pull, directory, write, writeUnseen, service } = await pullScene('a', 'b');
  const { id } = await pull();
  await write(0, 512, 1, 'a');
  writeUnseen(0, 512, 1, 'b');
  await expect(pull({ prove: true })).rejects.toThrow('b: the image');
  expect(manifestOf(join(directory, 'a')).images.map((image: { id: string }) => image.id)).toEqual([id]);
  expect(readdirSync(join(directory, 'a')).filter((name) => name.endsWith('.qcow2'))).toEqual([`${id}.qcow2`]);
  expect(manifestOf(join(directory, 'b')).images).toHaveLength(2);
  expect(service.base).toBe(id);
});

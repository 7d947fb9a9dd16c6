import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { verify } from '../../src/agent/verify.js';
import { MIB } from '../../src/base/units.js';
import { LockFile } from '../../src/posix/lock-file.js';
import { diskWith, manifestOf, pullScene, quiet } from '../support/pull-scene.js';

/** A chain of two images, and a way to damage the lower one without changing its size. */
async function chainScene() {
  const scene = await pullScene();
  await scene.write(MIB, MIB, 1);
  const { id: first } = await scene.pull();
  const { id: second } = await scene.pull();
  const path = join(scene.folder, `${first}.qcow2`);
  const flip = () => {
    const content = readFileSync(path);
    content[70_000] = content[70_000]! ^ 1;
    writeFileSync(path, content);
  };
  const check = async () => (await verify(scene.directory, quiet)).exports[0]!;
  return { ...scene, first, second, path, flip, check };
}

test('a pull does not build on a chain that verify found damaged', async () => {
  const { pull, write, flip, check, restored, folder, first, second, notes } = await chainScene();
  flip();
  const { points, notRecorded } = await check();
  expect(notRecorded).toBeNull();
  expect(points.map(({ problem }) => problem)).toEqual([
    expect.stringContaining('the file has the checksum'),
    `needs ${first}, which is not good`,
  ]);
  const damage = { foundBy: 'verify', foundAt: expect.any(String), problem: points[0]!.problem };
  expect(manifestOf(folder).images).toMatchObject([{ damage }, { id: second }]);
  expect(manifestOf(folder).images[1]).not.toHaveProperty('damage');

  await write(0, MIB, 2);
  const { images } = await pull();
  expect(images[0]).toMatchObject({ mode: 'full', base: null, fullReason: { code: 'chain-damaged' } });
  expect(notes.at(-1)).toMatch(
    /^disk: full backup: .*\.qcow2: the file has the checksum .* \(found by tidemark verify, /,
  );
  expect((await restored()).equals(diskWith([MIB, MIB, 1], [0, MIB, 2]))).toBe(true);
  expect((await pull()).images[0]).toMatchObject({ mode: 'incremental', base: images[0]!.id });
});

test('an image that is later found good can be built on again', async () => {
  const { pull, check, folder, path, second } = await chainScene();
  renameSync(path, `${path}.away`);
  await check();
  expect(manifestOf(folder).images[0].damage.problem).toBe('the file is missing');
  renameSync(`${path}.away`, path);
  expect((await check()).points.map(({ problem }) => problem)).toEqual([null, null]);
  expect(manifestOf(folder).images[0]).not.toHaveProperty('damage');
  expect((await pull()).images[0]).toMatchObject({ mode: 'incremental', base: second });
});

test('the same finding is recorded once, with its first date', async () => {
  const { flip, check, folder } = await chainScene();
  flip();
  await check();
  const { damage } = manifestOf(folder).images[0];
  expect(damage).toBeDefined();
  await check();
  expect(manifestOf(folder).images[0].damage).toEqual(damage);
});

test('a check that ends during a pull waits for the pull', async () => {
  const { flip, check, folder } = await chainScene();
  flip();
  const lock = await LockFile.take(join(folder, '.lock'));
  const take = vi.spyOn(LockFile, 'take');
  onTestFinished(() => take.mockRestore());
  const checked = check();
  await expect.poll(() => take.mock.settledResults).toContainEqual(expect.objectContaining({ type: 'rejected' }));
  await lock[Symbol.asyncDispose]();
  expect((await checked).notRecorded).toBeNull();
  expect(manifestOf(folder).images[0]).toHaveProperty('damage');
});

import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { listPoints } from '../../src/agent/points.js';
import { verify } from '../../src/agent/verify.js';
import { MIB } from '../../src/base/units.js';
import { LockFile } from '../../src/posix/lock-file.js';
import { tidemark } from '../support/agent.js';
import { manifestOf, pullScene, quiet } from '../support/pull-scene.js';
import { scratchFolder } from '../support/scratch-folder.js';

async function chainOfThree() {
  const scene = await pullScene();
  const ids: string[] = [];
  for (const value of [1, 2, 3]) {
    await scene.write(0, MIB, value);
    ids.push((await scene.pull()).id);
  }
  const flip = (id: string) => {
    const path = join(scene.folder, `${id}.qcow2`);
    const content = readFileSync(path);
    content[70_000] = content[70_000]! ^ 1;
    writeFileSync(path, content);
  };
  return { ...scene, ids, flip };
}

test('the points of a chain are listed, the oldest first, without their images and while the folder is locked', async () => {
  const { directory, folder, ids } = await chainOfThree();
  const { images } = manifestOf(folder);
  for (const id of ids) rmSync(join(folder, `${id}.qcow2`));
  await using _ = await LockFile.take(join(folder, '.lock'));
  const good = {
    committed: true,
    checkedAt: null,
    damage: null,
    problem: null,
    baseAsserted: false,
    proven: false,
    measured: false,
  };
  const [listed] = await listPoints(directory);
  expect(listed).toMatchObject({ export: 'disk', folder, problem: null });
  expect(listed!.points).toEqual(
    ids.map((id, i) => ({
      ...{ id, base: ids[i - 1] ?? null, mode: i === 0 ? 'full' : 'incremental', ...good },
      fullReason: images[i].fullReason ?? null,
      takenAt: images[i].takenAt,
      sizeBytes: images[i].sizeBytes,
      fileBytes: images[i].fileBytes,
      durationSeconds: images[i].durationSeconds,
    })),
  );
  expect(listed!.points[0]!.fullReason).not.toBeNull();
});

test('a point that verify found damaged and those above it are shown as such', async () => {
  const { directory, ids, flip } = await chainOfThree();
  flip(ids[1]!);
  await verify(directory, quiet);
  const [{ points }] = (await listPoints(directory)) as [Awaited<ReturnType<typeof listPoints>>[number]];
  const problem = expect.stringContaining('the file has the checksum');
  expect(points).toMatchObject([
    { damage: null, problem: null },
    { damage: { foundBy: 'verify', problem }, problem },
    { damage: null, problem: `needs ${ids[1]}, which is not good` },
  ]);
  const { code, stdout } = await tidemark('points', directory);
  expect(code).toBe(0);
  expect(stdout).toMatch(/damaged: the file has the checksum .+ \(found by verify, \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\)\n/);
});

test('an image whose backup may not be committed is shown as that', async () => {
  const { directory, folder, ids } = await chainOfThree();
  const manifest = manifestOf(folder);
  const pending = manifest.images.pop();
  writeFileSync(join(folder, 'manifest.json'), JSON.stringify({ ...manifest, pending }));
  const [listed] = await listPoints(directory);
  expect(listed!.points.map(({ id, committed }) => [id, committed])).toEqual(ids.map((id) => [id, id !== ids[2]]));
  expect((await tidemark('points', directory, 'disk')).stdout).toContain(
    'not committed: the next pull asks the server',
  );
});

test('a merge that was interrupted after its rename is shown as done', async () => {
  const { directory, folder, ids } = await chainOfThree();
  const after = scratchFolder();
  cpSync(directory, after, { recursive: true });
  expect((await tidemark('prune', after, '--keep', '1')).code).toBe(0);
  const [image] = manifestOf(join(after, 'disk')).images;
  const merging = { image, drops: ids.slice(0, 2) };
  writeFileSync(join(folder, 'manifest.json'), JSON.stringify({ ...manifestOf(folder), merging }));
  expect((await listPoints(directory))[0]!.points).toHaveLength(3);
  cpSync(join(after, 'disk', `${ids[2]}.qcow2`), join(folder, `${ids[2]}.qcow2`));
  expect((await listPoints(directory))[0]!.points).toMatchObject([{ id: ids[2], mode: 'full', base: null }]);
});

test('a folder that cannot be read does not hide the others, and one export can be asked for', async () => {
  const { directory, ids } = await chainOfThree();
  mkdirSync(join(directory, 'bad'));
  writeFileSync(join(directory, 'bad', 'manifest.json'), 'nonsense');
  const { code, stdout, stderr } = await tidemark('points', directory, '--json');
  expect(code).toBe(1);
  expect(JSON.parse(stdout)).toMatchObject({
    directory,
    exports: [
      { export: 'bad', problem: expect.stringContaining('is no manifest'), points: [] },
      { export: 'disk', problem: null, points: ids.map((id) => ({ id })) },
    ],
  });
  expect(stderr).toContain(`the manifests of 1 of 2 folders in ${directory} cannot be read`);
  expect(await listPoints(directory, 'disk')).toMatchObject([{ export: 'disk' }]);
  await expect(listPoints(directory, 'other')).rejects.toMatchObject({
    message: `${directory} has no backup of "other"`,
  });
  await expect(listPoints(scratchFolder())).rejects.toMatchObject({
    message: expect.stringContaining('has no backups'),
  });
});

test('a person sees times, sizes and the reason of a full backup', async () => {
  const { directory, ids } = await chainOfThree();
  const lines = (await tidemark('points', directory)).stdout.trimEnd().split('\n');
  expect(lines[0]).toMatch(/^EXPORT +RESTORE POINT +TAKEN +MODE +DISK +FILE +CHECKED +STATE$/);
  expect(lines).toHaveLength(1 + ids.length);
  const row = (id: string, mode: string) =>
    new RegExp(`^disk +${id} +\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d +${mode} +4 MiB +[\\d.]+ [KM]iB +never$`);
  expect(lines[1]).toMatch(row(ids[0]!, 'full \\([a-z-]+\\)'));
  expect(lines[2]).toMatch(row(ids[1]!, 'incremental'));
});

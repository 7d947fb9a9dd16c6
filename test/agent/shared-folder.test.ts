import { once } from 'node:events';
import { lstatSync, readdirSync, readFileSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { openRestoreTarget } from '../../src/agent/restore-target.js';
import { MIB } from '../../src/base/units.js';
import { attachLoop } from '../support/loop-device.js';
import { diskWith, pullScene } from '../support/pull-scene.js';
import { scratchFolder } from '../support/scratch-folder.js';

const disk = { sizeBytes: MIB, force: false };

test('a link with the temporary name of a manifest is not followed', async () => {
  const { pull, folder, directory } = await pullScene();
  await pull();
  const victim = join(directory, 'victim');
  writeFileSync(victim, 'precious');
  symlinkSync(victim, join(folder, 'manifest.json.new'));
  await pull();
  expect(readFileSync(victim, 'utf8')).toBe('precious');
  expect(statSync(join(folder, 'manifest.json')).mode & 0o777).toBe(0o600);
});

test.each([
  ['a link', (path: string, victim: string) => symlinkSync(victim, path)],
  ['a file that everybody may write to', (path: string) => writeFileSync(path, 'planted', { mode: 0o666 })],
])('%s under a temporary name of the target does not affect what is restored', async (_what, plant) => {
  const folder = scratchFolder();
  const [path, partial, victim] = ['a.img', '.a.img.partial', 'victim'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  writeFileSync(victim, 'precious');
  plant(partial, victim);
  const planted = lstatSync(partial).ino;
  const target = await openRestoreTarget(path, disk);
  await target.write(0, Buffer.alloc(MIB, 1));
  await target.finish();
  expect(readFileSync(victim, 'utf8')).toBe('precious');
  expect(lstatSync(path)).toMatchObject({ size: MIB, uid: process.geteuid?.() });
  expect(lstatSync(path).ino).not.toBe(planted);
  expect(lstatSync(path).mode & 0o777).toBe(0o600);
});

test('only one restore at a time can use a target', async () => {
  const folder = scratchFolder();
  const path = join(folder, 'a.img');
  const first = await openRestoreTarget(path, disk);
  await first.write(0, Buffer.alloc(MIB, 1));
  await expect(openRestoreTarget(path, disk)).rejects.toThrow(
    `another tidemark is writing to ${path}: process ${process.pid} on `,
  );
  await first.finish();
  expect(readFileSync(path).equals(Buffer.alloc(MIB, 1))).toBe(true);
  expect(readdirSync(folder)).toEqual(['a.img']);
  const second = await openRestoreTarget(path, { ...disk, force: true });
  await second.discard();
  expect(readFileSync(path).equals(Buffer.alloc(MIB, 1))).toBe(true);
});

test('the next restore to a target removes what a killed one left', async () => {
  const folder = scratchFolder();
  const path = join(folder, 'a.img');
  writeFileSync(join(folder, `.a.img.${'0123'.repeat(6)}.new`), 'left');
  writeFileSync(join(folder, '.a.img.lock'), 'process 1 on nowhere\n');
  await (await openRestoreTarget(path, disk)).finish();
  expect(readdirSync(folder)).toEqual(['a.img']);
});

test('a dangling link counts as existing, and only force replaces it', async () => {
  const folder = scratchFolder();
  const path = join(folder, 'a.img');
  symlinkSync(join(folder, 'elsewhere'), path);
  await expect(openRestoreTarget(path, disk)).rejects.toThrow(/is there already/);
  await (await openRestoreTarget(path, { ...disk, force: true })).finish();
  expect(lstatSync(path).isFile()).toBe(true);
  expect(readdirSync(folder)).toEqual(['a.img']);
});

test('only one restore at a time can use a block device', async () => {
  const file = join(scratchFolder(), 'image');
  writeFileSync(file, '');
  truncateSync(file, MIB);
  const device = attachLoop(file);
  const force = { ...disk, force: true };
  await expect(openRestoreTarget(device, disk)).rejects.toThrow(/is there already/);
  const first = await openRestoreTarget(device, force);
  await expect(openRestoreTarget(device, force)).rejects.toThrow(`the block device ${device} is in use`);
  await first.discard();
  const second = await openRestoreTarget(device, force);
  await second.write(0, Buffer.alloc(MIB, 2));
  await second.finish();
  expect(readFileSync(file).equals(Buffer.alloc(MIB, 2))).toBe(true);
});

test('knowing the name of a folder is not enough to lock it', async () => {
  const { pull, folder, write, restored } = await pullScene();
  await pull();
  const { dev, ino } = statSync(folder);
  const squatter = createServer().listen(`\0tidemark-backups-${dev}-${ino}`);
  onTestFinished(() => void squatter.close());
  await once(squatter, 'listening');
  await write(0, MIB, 4);
  await pull();
  expect((await restored()).equals(diskWith([0, MIB, 4]))).toBe(true);
});

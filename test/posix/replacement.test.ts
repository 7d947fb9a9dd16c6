import { lstatSync, readdirSync, readFileSync, renameSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { createNewFile, Replacement, removeUnfinished, replaceFile } from '../../src/posix/replacement.js';
import { scratchFolder } from '../support/scratch-folder.js';

test('a file is replaced by a new file that only its owner can open, and no temporary file is left', async () => {
  const folder = scratchFolder();
  const path = join(folder, 'file');
  writeFileSync(path, 'old', { mode: 0o666 });
  const { ino } = statSync(path);
  await replaceFile(path, 'new');
  expect(readFileSync(path, 'utf8')).toBe('new');
  expect(statSync(path).ino).not.toBe(ino);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  await replaceFile(path, 'newer', 0o640);
  expect(statSync(path).mode & 0o777).toBe(0o640);
  expect(readdirSync(folder)).toEqual(['file']);
});

test('a link in place of the file is replaced instead of followed', async () => {
  const folder = scratchFolder();
  const [path, victim] = [join(folder, 'file'), join(folder, 'victim')];
  writeFileSync(victim, 'precious');
  symlinkSync(victim, path);
  await replaceFile(path, 'new');
  expect(lstatSync(path).isFile()).toBe(true);
  expect(readFileSync(victim, 'utf8')).toBe('precious');
});

test('an unfinished file has a different name each time, and only its owner can open it', async () => {
  const folder = scratchFolder();
  const path = join(folder, 'file');
  const names = new Set<string>();
  for (let i = 0; i < 3; i++) {
    await using _replacement = await Replacement.begin(path);
    const [name] = readdirSync(folder);
    names.add(name!);
    expect(statSync(join(folder, name!)).mode & 0o777).toBe(0o600);
  }
  expect(names.size).toBe(3);
  expect(readdirSync(folder)).toEqual([]);
});

test('a swapped temporary file is detected', async () => {
  const folder = scratchFolder();
  const path = join(folder, 'file');
  await using replacement = await Replacement.begin(path);
  const [temporary] = readdirSync(folder);
  writeFileSync(join(folder, 'planted'), 'bad');
  renameSync(join(folder, 'planted'), join(folder, temporary!));
  await expect(replacement.commit()).rejects.toThrow(/is not the file that was written/);
});

test('a new file is created only under a free name', async () => {
  const folder = scratchFolder();
  const [path, victim] = [join(folder, 'file'), join(folder, 'victim')];
  symlinkSync(victim, path);
  await expect(createNewFile(path)).rejects.toThrow(/EEXIST/);
  expect(readdirSync(folder)).toEqual(['file']);
});

test('only the leftovers of dead processes are removed', async () => {
  const folder = scratchFolder();
  const path = join(folder, 'file');
  const kept = await Replacement.begin(join(folder, 'file2'));
  const names = readdirSync(folder);
  const left = await Replacement.begin(path);
  writeFileSync(join(folder, `.${basename(path)}.mine.new`), '');
  await left.file.close();
  await removeUnfinished(path);
  expect(readdirSync(folder).sort()).toEqual([...names, '.file.mine.new'].sort());
  await kept[Symbol.asyncDispose]();
});

test('no other module replaces files', () => {
  const source = resolve(import.meta.dirname, '../../src');
  const others = readdirSync(source, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && file !== 'posix/replacement.ts')
    .filter((file) => /\b(rename|copyFile|link)(Sync)?\(/.test(readFileSync(join(source, file), 'utf8')));
  expect(others).toEqual([]);
});

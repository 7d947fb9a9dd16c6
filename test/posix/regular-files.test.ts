import { execFileSync } from 'node:child_process';
import { mkdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { makeFolders, openRegularFile } from '../../src/posix/regular-files.js';
import { scratchFolder } from '../support/scratch-folder.js';

test('only a regular file is opened, also through a link', async () => {
  const folder = scratchFolder();
  const [file, link, pipe] = ['file', 'link', 'pipe'].map((name) => join(folder, name)) as [string, string, string];
  writeFileSync(file, 'content');
  symlinkSync(file, link);
  execFileSync('mkfifo', [pipe]);
  for (const path of [file, link]) {
    await using opened = await openRegularFile(path);
    expect(await opened!.readFile('utf8')).toBe('content');
  }
  for (const path of [pipe, folder, '/dev/zero']) expect(await openRegularFile(path)).toBeUndefined();
  await expect(openRegularFile(join(folder, 'none'))).rejects.toMatchObject({ code: 'ENOENT' });
});

test('missing folders are created with the given mode', async () => {
  const folder = scratchFolder();
  await makeFolders(join(folder, 'a/b/c'), 0o700);
  await makeFolders(join(folder, 'a/b/c'));
  expect(statSync(join(folder, 'a/b')).mode & 0o777).toBe(0o700);
  mkdirSync(join(folder, 'real'));
  symlinkSync('real', join(folder, 'link'));
  await makeFolders(join(folder, 'link/below'));
  expect(statSync(join(folder, 'real/below')).isDirectory()).toBe(true);
});

test('a folder that cannot be created fails at once', async () => {
  const folder = scratchFolder();
  writeFileSync(join(folder, 'file'), '');
  await expect(makeFolders('/proc/x/y')).rejects.toMatchObject({ code: 'ENOENT' });
  await expect(makeFolders('')).rejects.toMatchObject({ code: 'ENOENT' });
  await expect(makeFolders(join(folder, 'file'))).rejects.toMatchObject({ code: 'EEXIST' });
  await expect(makeFolders(join(folder, 'file/below'))).rejects.toMatchObject({ code: 'ENOTDIR' });
});

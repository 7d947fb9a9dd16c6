import { execFileSync } from 'node:child_process';
import { chmodSync, readFileSync, renameSync, statSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { DiskLocation } from '../../src/api/backup.js';
import { diskId } from '../../src/base/disk-id.js';
import { openDiskAt, readBootId } from '../../src/posix/find-disk.js';
import { scratchFolder } from '../support/scratch-folder.js';

const NOBODY = 65_534;

/** Makes a disk in a file and returns its location. */
async function disk(): Promise<DiskLocation> {
  const path = join(scratchFolder(), 'disk.img');
  writeFileSync(path, 'the disk');
  return { path, id: diskId(statSync(path, { bigint: true })), bootId: (await readBootId())! };
}

/** The content of the disk at the location; undefined if it was not opened. */
async function readAt(location: DiskLocation): Promise<string | undefined> {
  const file = await openDiskAt(location);
  if (!file) return undefined;
  try {
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}

test('a disk is identified by device, inode and boot ID', async () => {
  const { path, id, bootId } = await disk();
  const { dev, ino } = statSync(path);
  expect(id).toBe(`${dev}:${ino}`);
  expect(bootId).toBe(readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim());
  expect(bootId).toMatch(/^[0-9a-f-]{36}$/);
});

test('the disk is opened at its path, and through a symbolic link', async () => {
  const location = await disk();
  expect(await readAt(location)).toBe('the disk');
  const link = join(scratchFolder(), 'link');
  symlinkSync(location.path, link);
  expect(await readAt({ ...location, path: link })).toBe('the disk');
});

test('the disk is opened for reading only', async () => {
  const file = await openDiskAt(await disk());
  onTestFinished(() => file?.close());
  await expect(file!.write('!')).rejects.toMatchObject({ code: 'EBADF' });
});

test('another file in its place is not opened', async () => {
  const location = await disk();
  const other = join(scratchFolder(), 'other');
  writeFileSync(other, 'another');
  renameSync(other, location.path);
  expect(await readAt(location)).toBeUndefined();
});

test('nothing is opened on another machine or after a reboot', async () => {
  const location = await disk();
  expect(await readAt({ ...location, bootId: '00000000-0000-4000-8000-000000000000' })).toBeUndefined();
});

test('a missing file is not opened', async () => {
  const location = await disk();
  unlinkSync(location.path);
  expect(await readAt(location)).toBeUndefined();
});

test('a pipe in its place does not block', async () => {
  const location = await disk();
  // Moved, not deleted: a served disk is open, so its inode number cannot be reused either.
  renameSync(location.path, `${location.path}.old`);
  execFileSync('mkfifo', [location.path]);
  expect(await readAt(location)).toBeUndefined();
});

test('a disk that we may not read is not opened', async () => {
  const location = await disk();
  chmodSync(location.path, 0);
  if (process.geteuid?.() === 0) {
    process.seteuid?.(NOBODY);
    onTestFinished(() => process.seteuid?.(0));
  }
  expect(await readAt(location)).toBeUndefined();
});

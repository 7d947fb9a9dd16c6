import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { ExportSpec } from '../../src/api/export.js';
import { silentLog } from '../../src/base/log.js';
import { KIB, MIB } from '../../src/base/units.js';
import type { Export } from '../../src/export/export.js';
import { openExport } from '../../src/server/open-export.js';
import { createImage } from '../../src/storage/image/create-image.js';
import { kill } from '../support/inside.js';
import { MemoryStore } from '../support/memory-store.js';
import { native } from '../support/scratch-device.js';
import { scratchFolder } from '../support/scratch-folder.js';

/** An image, and a store that knows it as `disk` with a bitmap, left as `leave` does it. */
async function knownImage(leave: (served: Export) => Promise<void>) {
  const path = join(scratchFolder(), 'disk.img');
  await createImage(path, 4 * MIB);
  const persistence = { transient: false, onBitmapError: 'refuse', regionBytes: MIB, maxActiveRegions: 9 } as const;
  const host = {
    store: new MemoryStore(),
    persistence: { ...persistence, coolAfterSeconds: 5 },
    posix: native,
    log: silentLog,
  };
  const open = (change: Partial<ExportSpec> = {}) => openExport({ name: 'disk', path, ...change }, host);
  await leave(await open({ bitmaps: [{ name: 'nightly' }] }));
  const inconsistency = async () => {
    const served = await open();
    await served.close();
    return served.getBitmap('nightly').inconsistent;
  };
  return { path, open, inconsistency };
}

const closed = (served: Export) => served.close();

function overwrite(path: string): void {
  const fd = openSync(path, 'r+');
  writeSync(fd, Buffer.alloc(512, 7), 0, 512, 2 * MIB);
  closeSync(fd);
}

async function writeTo(served: Export): Promise<void> {
  expect(await served.device.write(Buffer.alloc(4 * KIB, 7), 0, 4 * KIB, 2 * MIB)).toBe(0);
}

test('an export that cannot be opened does not change what the store knows about its disk', async () => {
  const { path, open, inconsistency } = await knownImage(closed);
  await expect(open({ bitmaps: [{ name: 'odd', granularityBytes: 100 }] })).rejects.toThrow(
    'power of 2 and at least 512',
  );
  overwrite(path);
  expect(await inconsistency()).toMatch(/^modified at /);
});

test('a disk with a partial block is refused, and closed', async () => {
  const path = join(scratchFolder(), 'disk.img');
  await createImage(path, MIB + 512);
  const persistence = { transient: true, onBitmapError: 'refuse', regionBytes: MIB, maxActiveRegions: 9 } as const;
  const host = { persistence: { ...persistence, coolAfterSeconds: 5 }, posix: native, log: silentLog };
  const open = (minBlockBytes: 512 | 4096) =>
    openExport({ name: 'disk', path, minBlockBytes }, { ...host, store: undefined });
  await expect(open(4096)).rejects.toThrow(
    'the size of "disk", 1049088 bytes, is not a multiple of its min-block of 4096',
  );
  await (await open(512)).close();
});

test('an image that was deleted after a crash and created again is a different one, whatever its inode', async () => {
  const { path, inconsistency } = await knownImage(kill);
  rmSync(path);
  await createImage(path, 4 * MIB);
  expect(await inconsistency()).toMatch(/is in its place$/);
});

test('an image that was written after a crash under another of its names is not trusted', async () => {
  const { open, inconsistency } = await knownImage(kill);
  const other = await open({ name: 'other' });
  await writeTo(other);
  await other.close();
  expect(await inconsistency()).toBe('it was served as "other" in the meantime');
});

test('an image that was closed cleanly is recognised by its times', async () => {
  const { open, inconsistency } = await knownImage(closed);
  const other = await open({ name: 'other' });
  await other.close();
  expect(await inconsistency()).toBeUndefined();
});

test.each([
  ['stopped', closed],
  ['killed', kill],
])('writes by others while the image is served read-only are noticed (%s)', async (_, leave) => {
  const { path, open, inconsistency } = await knownImage(closed);
  const served = await open({ readOnly: true });
  overwrite(path);
  await leave(served);
  expect(await inconsistency()).toMatch(/^modified at /);
});

test('writes by others while the image is served read-only are noticed when a backup begins', async () => {
  const { path, open } = await knownImage(closed);
  const served = await open({ readOnly: true });
  await served.noticeOutsideChanges();
  expect(served.getBitmap('nightly').inconsistent).toBeUndefined();
  overwrite(path);
  await served.noticeOutsideChanges();
  expect(served.getBitmap('nightly').inconsistent).toContain('another program changed the disk');
  await served.close();
});

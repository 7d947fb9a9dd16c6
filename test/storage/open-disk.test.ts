import { chmodSync, mkdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { silentLog } from '../../src/base/log.js';
import { GIB, KIB } from '../../src/base/units.js';
import { openDisk } from '../../src/storage/image/open-disk.js';
import { contentOf } from '../support/device-content.js';
import { keepLog } from '../support/log-lines.js';
import { native, openScratch, writeImage } from '../support/scratch-device.js';
import { scratchFolder } from '../support/scratch-folder.js';

const openPath = (path: string, more: { createSizeBytes?: number; readOnly?: boolean } = {}) =>
  openDisk({ path, readOnly: false, posix: native, log: silentLog, ...more });

/** Runs a test as nobody, because root may open anything. */
function asNobody(): void {
  if (process.geteuid!() !== 0) return;
  process.seteuid!(65534);
  onTestFinished(() => process.seteuid!(0));
}

describe('opening an image', () => {
  it('serves the size and the content of the file', async () => {
    const { device } = await openScratch({ content: Buffer.alloc(64 * KIB, 'x') });
    expect(device.sizeBytes).toBe(64 * KIB);
    expect(await contentOf(device)).toEqual(Buffer.alloc(64 * KIB, 'x'));
  });

  it('offers trim and fast zeroes only with native calls', async () => {
    const withCalls = await openScratch({ content: 4096 });
    expect(withCalls.device.capabilities).toMatchObject({ readOnly: false, trim: true, fastZero: true });
    const without = await openScratch({ content: 4096, posix: undefined });
    expect(without.device.capabilities).toMatchObject({ readOnly: false, trim: false, fastZero: false });
  });

  it('does not touch the times of the file', async () => {
    const path = writeImage({ content: 4096 });
    const before = statSync(path, { bigint: true });
    const device = await openPath(path);
    await device.close();
    const after = statSync(path, { bigint: true });
    expect([after.mtimeNs, after.ctimeNs]).toEqual([before.mtimeNs, before.ctimeNs]);
  });
});

describe('an image that does not exist', () => {
  it('is refused, and the hint names size= to create it', async () => {
    const path = join(scratchFolder(), 'none');
    await expect(openPath(path)).rejects.toMatchObject({
      code: 'IMAGE_UNUSABLE',
      message: `there is no image ${path}`,
      hint: expect.stringContaining('size=SIZE'),
    });
  });

  it('is created sparse and for its owner only if a size is given', async () => {
    const path = join(scratchFolder(), 'new');
    const device = await openPath(path, { createSizeBytes: GIB });
    await device.close();
    const stats = statSync(path);
    expect([device.sizeBytes, stats.size, stats.blocks, stats.mode & 0o777]).toEqual([GIB, GIB, 0, 0o600]);
  });

  it('is not created with a size that could not be served', async () => {
    const path = join(scratchFolder(), 'new');
    await expect(openPath(path, { createSizeBytes: 1000 })).rejects.toMatchObject({ code: 'IMAGE_UNUSABLE' });
    expect(() => statSync(path)).toThrow('ENOENT');
  });

  it('is not left behind if the file system cannot hold its size', async () => {
    const path = join(scratchFolder(), 'new');
    const making = openPath(path, { createSizeBytes: 2 ** 52 });
    await expect(making).rejects.toMatchObject({ code: 'IMAGE_UNUSABLE', message: expect.stringContaining('EFBIG') });
    expect(() => statSync(path)).toThrow('ENOENT');
  });

  it('is not created in a missing folder', async () => {
    const making = openPath(join(scratchFolder(), 'none', 'new'), { createSizeBytes: 512 });
    await expect(making).rejects.toMatchObject({
      code: 'IMAGE_UNUSABLE',
      message: expect.stringContaining('there is no folder'),
    });
  });

  it('is not created for a read-only export', async () => {
    const making = openPath(join(scratchFolder(), 'new'), { createSizeBytes: 512, readOnly: true });
    await expect(making).rejects.toMatchObject({ code: 'IMAGE_UNUSABLE' });
  });
});

describe('an image that exists', () => {
  it('keeps its size whatever size= says, with a warning in the log', async () => {
    const path = writeImage({ content: Buffer.alloc(1024, 'x') });
    const { log, lines } = keepLog();
    const device = await openDisk({ path, readOnly: false, posix: native, log, createSizeBytes: 4096 });
    await device.close();
    expect(device.sizeBytes).toBe(1024);
    expect(readFileSync(path)).toEqual(Buffer.alloc(1024, 'x'));
    expect(lines).toMatchObject([{ level: 'warn', fields: { sizeBytes: 1024, givenBytes: 4096 } }]);
  });

  it('is refused if its size is not a multiple of 512, with the command that fixes it', async () => {
    const path = writeImage({ content: Buffer.alloc(1000, 'x') });
    await expect(openPath(path)).rejects.toMatchObject({
      code: 'IMAGE_UNUSABLE',
      message: `the size of the image ${path}, 1000 bytes, is not a multiple of 512`,
      hint: `pad it with zeroes: truncate -s 1024 ${path}`,
    });
    truncateSync(path, 1024);
    await (await openPath(path)).close();
  });

  it('is refused if it is empty', async () => {
    const path = writeImage({ content: 0 });
    await expect(openPath(path)).rejects.toMatchObject({ code: 'IMAGE_UNUSABLE', hint: expect.stringContaining(path) });
  });

  it('is refused if it is a folder or a character device', async () => {
    const path = join(scratchFolder(), 'folder');
    mkdirSync(path);
    await expect(openPath(path)).rejects.toMatchObject({ code: 'IMAGE_UNUSABLE', message: `${path} is a folder` });
    await expect(openPath('/dev/null')).rejects.toMatchObject({ code: 'IMAGE_UNUSABLE' });
  });

  it('is refused if it is not writable, unless it is served readonly', async () => {
    asNobody();
    const path = join(scratchFolder(), 'image');
    writeFileSync(path, Buffer.alloc(512));
    chmodSync(path, 0o400);
    const hint = `let user id ${process.geteuid!()} read and write ${path}, or serve it readonly`;
    await expect(openPath(path)).rejects.toMatchObject({ code: 'IMAGE_UNUSABLE', hint });
    await (await openPath(path, { readOnly: true })).close();
  });
});

import { readdirSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { ENOSPC, OK } from '../../src/base/errno.js';
import { silentLog } from '../../src/base/log.js';
import { GIB, KIB, MIB } from '../../src/base/units.js';
import { openScratch } from '../../src/snapshot/scratch.js';
import { openUnnamedFile } from '../../src/storage/image/unnamed-file.js';
import { allocationOf, contentOf, expectSame, put } from '../support/device-content.js';
import { mountedDisk } from '../support/mounted-disk.js';
import { native } from '../support/scratch-device.js';
import { places, scratchFolder } from '../support/scratch-folder.js';
import { smallDisk } from '../support/small-disk.js';

const options = { posix: native, log: silentLog };

describe.each(Object.keys(places) as (keyof typeof places)[])('scratch on %s', (place) => {
  it('is a sparse, unnamed disk', async () => {
    const folder = scratchFolder(place);
    const scratch = await openScratch(folder, 100 * GIB, options);
    onTestFinished(() => scratch.close());
    expect(scratch.sizeBytes).toBe(100 * GIB);
    expect(await allocationOf(scratch)).toEqual([[100 * GIB, 3]]);
    expect(readdirSync(folder)).toEqual([]);
    await put(scratch, 99 * GIB, Buffer.alloc(MIB, 'x'));
    expectSame(await contentOf(scratch, 99 * GIB, MIB + 1), Buffer.concat([Buffer.alloc(MIB, 'x'), Buffer.alloc(1)]));
    expect(readdirSync(folder)).toEqual([]);
  });
});

it('scratch frees trimmed space at once, and the rest when it is closed', async () => {
  const disk = await smallDisk(4 * MIB);
  const freeBytes = () => statfsSync(disk.path).bfree * statfsSync(disk.path).bsize;
  const before = freeBytes();
  const scratch = await openScratch(disk.path, 64 * MIB, options);
  await put(scratch, 0, Buffer.alloc(2 * MIB, 'x'));
  expect(before - freeBytes()).toBeGreaterThanOrEqual(2 * MIB);
  expect(await scratch.trim(0, MIB)).toBe(OK);
  expect(before - freeBytes()).toBeLessThan(1.5 * MIB);
  await scratch.close();
  expect(freeBytes()).toBe(before);
});

it('full scratch returns ENOSPC', async () => {
  const disk = await smallDisk(MIB);
  const scratch = await openScratch(disk.path, 64 * MIB, options);
  onTestFinished(() => scratch.close());
  disk.fill();
  expect(await scratch.write(Buffer.alloc(64 * KIB, 'x'), 0, 64 * KIB, 0)).toBe(ENOSPC);
});

it('a missing folder or an impossible size fails with the error of the file system', async () => {
  await expect(openScratch(join(scratchFolder(), 'none'), MIB, options)).rejects.toMatchObject({ code: 'ENOENT' });
  const folder = scratchFolder();
  await expect(openScratch(folder, 2 ** 52, options)).rejects.toMatchObject({ code: 'EFBIG' });
  expect(readdirSync(folder)).toEqual([]);
});

it('if the file system has no unnamed files, a file is created and unlinked at once', async () => {
  const { path } = await mountedDisk('-t mqueue none');
  const handle = await openUnnamedFile(path);
  expect((await handle.stat()).nlink).toBe(0);
  expect(readdirSync(path)).toEqual([]);
  await handle.close();
});

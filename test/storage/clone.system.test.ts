import { readdirSync, readlinkSync, renameSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { diskId } from '../../src/base/disk-id.js';
import { silentLog } from '../../src/base/log.js';
import { KIB, MIB } from '../../src/base/units.js';
import { cloneImage, type ImageToClone } from '../../src/storage/image/clone.js';
import { openDisk } from '../../src/storage/image/open-disk.js';
import { allocationOf, contentOf, expectSame, put } from '../support/device-content.js';
import { keepLog } from '../support/log-lines.js';
import { xfsDisk } from '../support/mounted-disk.js';
import { native, writeImage } from '../support/scratch-device.js';
import { scratchFolder } from '../support/scratch-folder.js';

const options = { posix: native, log: silentLog };

const { EXDEV } = constants.errno;

/** The ID of the file that is at the path now. */
async function imageAt(path: string): Promise<ImageToClone> {
  const stats = await stat(path, { bigint: true });
  return { path, id: diskId(stats), sizeBytes: Number(stats.size) };
}

test('a clone keeps its content while the image changes, and is not visible in the folder', async () => {
  const { path: folder } = await xfsDisk();
  const path = join(folder, 'image');
  writeFileSync(path, Buffer.alloc(MIB, 'a'));
  truncateSync(path, 4 * MIB);
  const image = await openDisk({ path, readOnly: false, ...options });
  onTestFinished(() => image.close());
  const before = await contentOf(image);

  const clone = await cloneImage(await imageAt(path), options);
  onTestFinished(() => clone?.close());
  await put(image, 3 * KIB, Buffer.alloc(2 * MIB, 'b'));
  await image.zero(0, KIB, { keepAllocated: false, fastOnly: false });
  await image.resize(8 * MIB);

  expect(clone?.sizeBytes).toBe(4 * MIB);
  expect(clone?.capabilities.readOnly).toBe(true);
  expectSame(await contentOf(clone!), before);
  expect(await allocationOf(clone!)).toEqual([
    [MIB, 0],
    [3 * MIB, 3],
  ]);
  expect(readdirSync(folder)).toEqual(['image']);
});

test('an image is not cloned if another file has taken its name', async () => {
  const { path: folder } = await xfsDisk();
  const path = join(folder, 'image');
  writeFileSync(path, Buffer.alloc(MIB, 'a'));
  const image = await imageAt(path);
  renameSync(path, `${path}.old`);
  writeFileSync(path, Buffer.alloc(MIB, 'b'));
  const { log, lines } = keepLog();
  expect(await cloneImage(image, { posix: native, log })).toBeUndefined();
  expect(lines).toMatchObject([{ fields: { image: path, cause: 'another file has taken its name' } }]);
  expect(readdirSync(folder).sort()).toEqual(['image', 'image.old']);
});

test('a clone shares its blocks with the image', async () => {
  const { path: folder } = await xfsDisk();
  const path = join(folder, 'image');
  writeFileSync(path, Buffer.alloc(150 * MIB, 'a'));
  const image = await imageAt(path);
  const clones = await Promise.all([1, 2, 3].map(() => cloneImage(image, options)));
  onTestFinished(async () => void (await Promise.all(clones.map((clone) => clone?.close()))));
  for (const clone of clones) expectSame(await contentOf(clone!, MIB, MIB), Buffer.alloc(MIB, 'a'));
});

test('the clone of an image behind a symbolic link is in the folder of the image', async () => {
  const path = writeImage({ content: Buffer.alloc(64 * KIB, 'a') });
  const link = join(scratchFolder(), 'link');
  symlinkSync(path, link);
  let clonePath = '';
  const clone = async (fd: number) => {
    clonePath = readlinkSync(`/proc/self/fd/${fd}`);
    return -EXDEV;
  };
  expect(await cloneImage(await imageAt(link), { posix: { ...native, clone }, log: silentLog })).toBeUndefined();
  expect(dirname(clonePath)).toBe(dirname(path));
});

test.each(['tmpfs', 'disk'] as const)('on %s there is no clone, and the log says why', async (place) => {
  const path = writeImage({ place, content: Buffer.alloc(64 * KIB, 'a') });
  const { log, lines } = keepLog();
  expect(await cloneImage(await imageAt(path), { posix: native, log })).toBeUndefined();
  expect(lines).toMatchObject([{ level: 'debug', fields: { image: path, cause: 'FICLONE: EOPNOTSUPP' } }]);
});

test('without native calls there is no clone', async () => {
  expect(
    await cloneImage(await imageAt(writeImage({ content: MIB })), { posix: undefined, log: silentLog }),
  ).toBeUndefined();
});

import { existsSync, linkSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { silentLog } from '../../src/base/log.js';
import { MIB } from '../../src/base/units.js';
import { type ExportSource, ImagePlaces } from '../../src/server/image-places.js';
import { openDisk } from '../../src/storage/image/open-disk.js';
import { Control } from '../support/control.js';
import { makeImage } from '../support/image.js';
import { attachLoop } from '../support/loop-device.js';
import { native } from '../support/scratch-device.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { startTidemarkIn } from '../support/tidemark.js';

const NOT_ALLOWED = { code: 'IMAGE_NOT_ALLOWED' };

/** A folder with images, another folder, and the state directory of a server with its store. */
async function scene(choice: { readonly source?: ExportSource; readonly limited?: boolean } = {}) {
  const { source = 'api', limited = true } = choice;
  const folder = scratchFolder();
  const [images, elsewhere, state] = ['images', 'elsewhere', 'state'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  for (const made of [images, elsewhere, join(state, 'store')]) mkdirSync(made, { recursive: true });
  makeImage(MIB, [], images);
  makeImage(MIB, [], elsewhere);
  const store = join(state, 'store/data.mdb');
  writeFileSync(store, Buffer.alloc(MIB));
  const imageRoots = limited ? [images] : [];
  const places = await ImagePlaces.open({
    stateDirectory: state,
    scratchDirectory: join(folder, 'scratch'),
    imageRoots,
  });
  const open = async (path: string, createSizeBytes?: number) => {
    const guard = places.guard(path, source);
    const device = await openDisk({
      path,
      readOnly: false,
      createSizeBytes,
      guard,
      posix: native,
      log: silentLog,
    });
    onTestFinished(() => device.close());
  };
  return { folder, images, elsewhere, state, store, open };
}

describe('the state directory', () => {
  test('cannot hold images, whatever the path', async () => {
    const { images, state, store, open } = await scene({ limited: false });
    symlinkSync(store, join(images, 'link.img'));
    symlinkSync(state, join(images, 'folder'));
    for (const path of [store, join(images, 'link.img'), join(images, 'folder/store/data.mdb')]) {
      await expect(open(path), path).rejects.toMatchObject(NOT_ALLOWED);
    }
  });

  test('cannot hold an image under another name of one of its files', async () => {
    const { images, store, open } = await scene({ limited: false, source: 'operator' });
    linkSync(store, join(images, 'hard.img'));
    await expect(open(join(images, 'hard.img'))).rejects.toMatchObject(NOT_ALLOWED);
  });

  test('cannot hold an image behind a loop device', async () => {
    const { store, open } = await scene({ limited: false });
    const device = attachLoop(store);
    await expect(open(device)).rejects.toMatchObject(NOT_ALLOWED);
  });

  test('gets no new images', async () => {
    const { images, state, open } = await scene({ limited: false });
    symlinkSync(state, join(images, 'folder'));
    for (const path of [join(state, 'new.img'), join(images, 'folder/new.img')]) {
      await expect(open(path, MIB), path).rejects.toMatchObject(NOT_ALLOWED);
    }
    expect(existsSync(join(state, 'new.img'))).toBe(false);
  });

  test('is not the only one: the scratch directory cannot hold images either, even before it exists', async () => {
    const { folder, images, open } = await scene({ limited: false });
    mkdirSync(join(folder, 'scratch'));
    symlinkSync(join(folder, 'scratch'), join(images, 'folder'));
    await expect(open(join(images, 'folder/new.img'), MIB)).rejects.toMatchObject(NOT_ALLOWED);
  });
});

describe('below an image root', () => {
  test('images are opened and created', async () => {
    const { images, open } = await scene();
    await open(join(images, 'disk.img'));
    await open(join(images, 'new.img'), MIB);
  });

  test('symbolic links cannot lead elsewhere', async () => {
    const { images, elsewhere, open } = await scene();
    symlinkSync(join(elsewhere, 'disk.img'), join(images, 'link.img'));
    symlinkSync(join(elsewhere, 'missing.img'), join(images, 'dangling.img'));
    symlinkSync(elsewhere, join(images, 'folder'));
    await expect(open(join(images, 'link.img'))).rejects.toMatchObject(NOT_ALLOWED);
    await expect(open(join(images, 'folder/disk.img'))).rejects.toMatchObject(NOT_ALLOWED);
    await expect(open(join(images, 'folder/new.img'), MIB)).rejects.toMatchObject(NOT_ALLOWED);
    await expect(open(join(images, 'dangling.img'), MIB)).rejects.toMatchObject({ code: 'IMAGE_UNUSABLE' });
    for (const name of ['new.img', 'missing.img']) expect(existsSync(join(elsewhere, name)), name).toBe(false);
  });
});

test('outside the image roots the answer does not reveal whether an image exists', async () => {
  const { elsewhere, images, open } = await scene();
  const outcomes = ['disk.img', 'none.img'].map((name) =>
    open(join(elsewhere, name)).catch(({ message }) => message.replace(name, '')),
  );
  const [present, absent] = await Promise.all(outcomes);
  expect(present).toContain('is outside the image roots of this server');
  expect(absent).toBe(present);
  await expect(open(`${images}-other/disk.img`)).rejects.toMatchObject(NOT_ALLOWED);
});

test('the operator can name any image, whatever the image roots', async () => {
  const { elsewhere, open } = await scene({ source: 'operator' });
  await open(join(elsewhere, 'disk.img'));
});

test('an image root that does not exist is refused', async () => {
  const folder = scratchFolder();
  const places = { stateDirectory: folder, scratchDirectory: folder, imageRoots: [join(folder, 'missing')] };
  await expect(ImagePlaces.open(places)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
});

test('the configuration can name images anywhere, and the API only images below the image roots', async () => {
  const [folder, root] = [scratchFolder(), scratchFolder()];
  const server = await startTidemarkIn(folder, [`disk=${makeImage(MIB)}`], ['--image-root', root]);
  const control = new Control(server.control);
  const add = (name: string, path: string) => control.call('POST', '/v1/exports', { name, path, sizeBytes: MIB });
  await add('good', join(root, 'good.img'));
  await expect(add('bad', join(folder, 'bad.img'))).rejects.toMatchObject({ problem: { status: 403, ...NOT_ALLOWED } });
  await expect(add('store', join(folder, 'state/store/data.mdb'))).rejects.toMatchObject({ problem: NOT_ALLOWED });
  expect(existsSync(join(folder, 'bad.img'))).toBe(false);
});

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { prune } from '../../src/agent/prune.js';
import { restore } from '../../src/agent/restore.js';
import { UriBackupService } from '../../src/agent/uri-backup-service.js';
import { verify } from '../../src/agent/verify.js';
import { MIB } from '../../src/base/units.js';
import { tidemark } from '../support/agent.js';
import { diskWith, manifestOf, pullScene, quiet } from '../support/pull-scene.js';
import { scratchFolder } from '../support/scratch-folder.js';

const CONTEXT = 'qemu:dirty-bitmap:nightly';

/** A disk with data, and a function that pulls it as from any NBD server. */
async function uriScene() {
  const scene = await pullScene();
  await scene.write(MIB, MIB, 1);
  const pullUri = (since?: string, source: { uri?: string; context?: string | undefined } = {}) =>
    scene.pull({}, new UriBackupService({ uri: scene.uri, context: CONTEXT, since, ...source }));
  return { ...scene, pullUri };
}

test('a pull by URI is full, because the server cannot say what a bitmap counts from', async () => {
  const { pull, pullUri, write, restored, notes } = await uriScene();
  await pull();
  await write(0, MIB, 2);
  const { images } = await pullUri();
  expect(images[0]).toMatchObject({ mode: 'full', base: null, fullReason: { code: 'base-unknown' } });
  expect(notes.at(-1)).toMatch(/^disk: full backup: plain NBD does not tell .* --since ID/);
  expect((await restored()).equals(diskWith([MIB, MIB, 1], [0, MIB, 2]))).toBe(true);
});

test('an increment with --since is asserted, and the manifest and verify say so', async () => {
  const { pullUri, write, restored, directory, folder, uri } = await uriScene();
  const first = await pullUri();
  await write(0, MIB, 2);
  const second = await pullUri(first.id);
  const origin = { uri, context: CONTEXT };
  expect(second.images[0]).toMatchObject({ mode: 'incremental', base: first.id, baseAsserted: true, origin });
  expect(manifestOf(folder).images).toMatchObject([{ origin }, { origin, baseAsserted: true }]);
  expect(manifestOf(folder).images[0]).not.toHaveProperty('baseAsserted');
  const { exports } = await verify(directory, quiet);
  expect(exports[0]!.points).toMatchObject([{ baseAsserted: false }, { baseAsserted: true }]);
  expect((await restored()).equals(diskWith([MIB, MIB, 1], [0, MIB, 2]))).toBe(true);
});

describe('a --since that does not fit makes the pull full', () => {
  test('because the image is not the newest', async () => {
    const { pullUri } = await uriScene();
    const first = await pullUri();
    const second = await pullUri(first.id);
    const { images } = await pullUri(first.id);
    expect(images[0]).toMatchObject({ mode: 'full', base: null, fullReason: { code: 'since-not-newest' } });
    expect(images[0]!.fullReason!.detail).toBe(`--since says ${first.id}, and the newest image here is ${second.id}`);
  });

  test('because a tidemark server made the image', async () => {
    const { pull, pullUri } = await uriScene();
    const { id } = await pull();
    const { images } = await pullUri(id);
    expect(images[0]).toMatchObject({ mode: 'full', fullReason: { code: 'other-origin' } });
  });

  test.each([
    { what: 'another URI', source: { uri: 'nbd+unix:///else?socket=/else' } },
    { what: 'another context', source: { context: 'qemu:dirty-bitmap:weekly' } },
    { what: 'no context', source: { context: undefined } },
  ])('of an image from $what', async ({ source }) => {
    const { pullUri, folder } = await uriScene();
    const { id } = await pullUri();
    const manifest = manifestOf(folder);
    const [image] = manifest.images;
    const origin = { ...image.origin, ...source, context: 'context' in source ? (source.context ?? null) : CONTEXT };
    writeFileSync(join(folder, 'manifest.json'), JSON.stringify({ ...manifest, images: [{ ...image, origin }] }));
    const { images } = await pullUri(id);
    expect(images[0]).toMatchObject({ mode: 'full', fullReason: { code: 'other-origin' } });
  });
});

test('a normal pull does not build on an image that was pulled by URI', async () => {
  const { pull, pullUri, service } = await uriScene();
  await pull();
  const { id } = await pullUri();
  expect((await pull()).images[0]).toMatchObject({ mode: 'full', fullReason: { code: 'base-mismatch' } });
  // Not even if a backup of the server has the same ID.
  const newest = await pullUri();
  expect(newest.id).not.toBe(id);
  service.base = newest.id;
  expect((await pull()).images[0]).toMatchObject({ mode: 'full', fullReason: { code: 'other-origin' } });
});

test('a restore says if the restore point, or one below it, was asserted with --since', async () => {
  const { pullUri, pull, directory } = await uriScene();
  const restoreIt = async (at: string) => {
    const to = join(scratchFolder(), 'restored.img');
    const { baseAsserted } = await restore({
      directory,
      exportName: 'disk',
      at,
      to,
      force: false,
      check: true,
      ...quiet,
    });
    return baseAsserted;
  };
  const first = await pullUri();
  const second = await pullUri(first.id);
  const third = await pullUri(second.id);
  const own = await pull();
  const points = [first, second, third, own];
  expect(await Promise.all(points.map(({ id }) => restoreIt(id)))).toEqual([false, true, true, false]);
  const to = join(scratchFolder(), 'restored.img');
  const { stdout } = await tidemark('restore', directory, 'disk', '--at', third.id, '--to', to);
  expect(stdout).toMatch(/, base asserted\n$/);
});

test('an image merged from asserted increments stays asserted', async () => {
  const { pullUri, directory, folder } = await uriScene();
  const first = await pullUri();
  const second = await pullUri(first.id);
  const third = await pullUri(second.id);
  await prune(directory, { policy: { last: 1 }, ...quiet });
  expect(manifestOf(folder).images).toMatchObject([{ id: third.id, mode: 'full', base: null, baseAsserted: true }]);
});

import { mkdirSync, readdirSync, readFileSync, renameSync, rmdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { NoAnswerError } from '../../src/agent/backup-service.js';
import { verify } from '../../src/agent/verify.js';
import { MIB } from '../../src/base/units.js';
import { DISK_BYTES } from '../support/memory-server.js';
import { diskWith, manifestOf, pullScene, quiet } from '../support/pull-scene.js';

test('the first backup is full, and later ones build on it', async () => {
  const { pull, write, restored, notes, folder } = await pullScene();
  await write(MIB, MIB, 1);
  const first = await pull();
  await write(0, 1000 * 512, 2);
  const second = await pull();
  expect(first.images[0]).toMatchObject({ mode: 'full', base: null, readBytes: MIB, sizeBytes: DISK_BYTES });
  expect(second.images[0]).toMatchObject({ mode: 'incremental', base: first.id });
  expect(notes).toEqual(['disk: full backup: no base']);
  expect((await restored(first.id)).equals(diskWith([MIB, MIB, 1]))).toBe(true);
  expect((await restored()).equals(diskWith([MIB, MIB, 1], [0, 1000 * 512, 2]))).toBe(true);
  expect(manifestOf(folder)).not.toHaveProperty('pending');
});

test('several exports are one backup', async () => {
  const { pull, write, restored, service } = await pullScene('a', 'b');
  await write(0, 512, 1, 'a');
  await write(512, 512, 2, 'b');
  const { id } = await pull();
  expect(service.calls.filter((call) => call.startsWith('commit'))).toEqual([`commit ${id}`]);
  expect((await restored(id, 'a')).equals(diskWith([0, 512, 1]))).toBe(true);
  expect((await restored(id, 'b')).equals(diskWith([512, 512, 2]))).toBe(true);
});

test('an export of any name has a folder in the directory', async () => {
  const names = ['../up', '.', '..', 'a/b', 'ü ?#', '%2F', '%'];
  const { pull, directory, restored } = await pullScene(...names);
  const { id } = await pull();
  expect(readdirSync(directory)).toHaveLength(names.length);
  for (const name of names) expect(await restored(id, name)).toHaveLength(DISK_BYTES);
});

test('a commit without an answer is repeated', async () => {
  const { pull, service, restored } = await pullScene();
  let left = 2;
  service.afterCommit = () => {
    if (left-- > 0) throw new NoAnswerError(new Error('hung up'));
  };
  const { id } = await pull();
  expect(service.calls.filter((call) => call.startsWith('commit'))).toHaveLength(3);
  expect(await restored(id)).toHaveLength(DISK_BYTES);
});

test.each(['before', 'after'] as const)(
  'if the server goes away %s a commit takes effect, the next pull finds out',
  async (when) => {
    const { pull, service, write, restored, notes, folder } = await pullScene();
    const first = await pull();
    await write(0, MIB, 5);
    service[`${when}Commit`] = () => {
      throw new NoAnswerError(new Error('hung up'));
    };
    await expect(pull({ commitPatienceSeconds: 0 })).rejects.toThrow(
      /did not say whether backup .* is committed: hung up/,
    );
    const { id: lost } = manifestOf(folder).pending;
    expect(manifestOf(folder).images).toHaveLength(1);

    service[`${when}Commit`] = () => {};
    notes.length = 0;
    const next = await pull();
    const kept = manifestOf(folder).images.map(({ id }: { id: string }) => id);
    if (when === 'after') {
      expect(notes).toEqual([`disk: backup ${lost} was committed before its agent died; its image is kept`]);
      expect(kept).toEqual([first.id, lost, next.id]);
      expect((await restored(lost)).equals(diskWith([0, MIB, 5]))).toBe(true);
    } else {
      expect(notes).toEqual([`disk: removed the image of backup ${lost}, which was not committed`]);
      expect(service.calls).toContain(`abort ${lost}`);
      expect(kept).toEqual([first.id, next.id]);
    }
    expect(next.images[0]!.mode).toBe('incremental');
    expect((await restored()).equals(diskWith([0, MIB, 5]))).toBe(true);
  },
);

test('a failure after the commit removes no image, and the next pull renames it', async () => {
  const { pull, service, write, restored, notes, folder } = await pullScene();
  const first = await pull();
  await write(0, MIB, 5);
  const inTheWay = () => join(folder, `${[...service.backups.keys()].at(-1)!}.qcow2`);
  service.afterCommit = () => mkdirSync(inTheWay());
  await expect(pull()).rejects.toMatchObject({
    message: expect.stringMatching(/^backup .* is committed, but its image could not be renamed: /),
    hint: expect.stringContaining('the next tidemark pull'),
  });
  expect(service.calls.filter((call) => call.startsWith('abort'))).toEqual([]);

  rmdirSync(inTheWay());
  service.afterCommit = () => {};
  notes.length = 0;
  const { id: kept } = manifestOf(folder).pending;
  const next = await pull();
  expect(notes).toEqual([`disk: backup ${kept} was committed before its agent died; its image is kept`]);
  expect(manifestOf(folder).images.map(({ id }: { id: string }) => id)).toEqual([first.id, kept, next.id]);
  expect((await restored(kept)).equals(diskWith([0, MIB, 5]))).toBe(true);
});

test('if a lease ends after a commit whose answer was lost, no image is removed', async () => {
  const { pull, service, folder } = await pullScene();
  service.ttlSeconds = 0.2;
  service.afterCommit = () => {
    throw new NoAnswerError(new Error('hung up'));
  };
  const renewed = new Promise<void>((resolve) => {
    service.onRenew = () => {
      if (!service.calls.some((call) => call.startsWith('commit'))) return;
      resolve();
      throw new Error('the backup has ended');
    };
  });
  const pulled = pull({ commitPatienceSeconds: 1 });
  await Promise.all([renewed, expect(pulled).rejects.toThrow('did not say whether backup')]);
  const { id } = manifestOf(folder).pending;
  expect(readdirSync(folder)).toContain(`.${id}.partial`);
});

test('the image of an agent that died after the rename is kept', async () => {
  const { pull, folder, restored, notes } = await pullScene();
  const { id } = await pull();
  const { images, ...rest } = manifestOf(folder);
  writeFileSync(join(folder, 'manifest.json'), JSON.stringify({ ...rest, images: [], pending: images[0] }));
  const next = await pull();
  expect(next.images[0]).toMatchObject({ mode: 'incremental', base: id });
  expect(notes.at(-1)).toContain('its image is kept');
  expect(await restored(id)).toHaveLength(DISK_BYTES);
});

test('the files of an agent that died while writing are removed, and its backup is aborted', async () => {
  const { pull, folder, service, notes } = await pullScene();
  await pull();
  const { id } = await service.begin({ exports: ['disk'], bitmap: 'nightly', full: false, ttlSeconds: 60 });
  writeFileSync(join(folder, `.${id}.partial`), 'a part');
  const next = await pull();
  expect(service.calls).toContain(`abort ${id}`);
  expect(next.images[0]!.mode).toBe('incremental');
  expect(notes.at(-1)).toBe(`disk: removed the unfinished image of backup ${id}`);
  expect(readdirSync(folder).filter((name) => name.startsWith('.'))).toEqual([]);
});

test('a commit that is refused leaves nothing behind, and says why', async () => {
  const { pull, service, folder } = await pullScene();
  const first = await pull();
  service.beforeCommit = () => {
    const id = [...service.backups.keys()].at(-1)!;
    service.end(id, { state: 'aborted', endReason: 'expired', endDetail: 'the lease ran out' });
    throw new Error('the backup has ended');
  };
  await expect(pull()).rejects.toMatchObject({ message: expect.stringMatching(/ended backup .*: the lease ran out/) });
  expect(readdirSync(folder).sort()).toEqual([`${first.id}.qcow2`, 'manifest.json']);
  expect(manifestOf(folder).images).toHaveLength(1);
});

test('a lost lease ends the pull at once', async () => {
  const { pull, service, write } = await pullScene();
  await write(0, DISK_BYTES, 1);
  service.ttlSeconds = 0.2;
  service.onRenew = () => {
    const id = [...service.backups.keys()].at(-1)!;
    service.end(id, { state: 'aborted', endReason: 'scratch-full', endDetail: 'the scratch is full' });
    throw new Error('the backup has ended');
  };
  await expect(pull({ bytesPerSecond: MIB / 4 })).rejects.toMatchObject({
    message: expect.stringContaining('the scratch is full'),
    hint: expect.stringContaining('--bwlimit'),
  });
});

test('an interrupted pull aborts its backup and leaves nothing', async () => {
  const { pull, service, write, directory } = await pullScene();
  await write(0, DISK_BYTES, 1);
  const controller = new AbortController();
  const observer = { note: () => {}, progress: () => controller.abort() };
  await expect(pull({ signal: controller.signal, bytesPerSecond: MIB, observer })).rejects.toThrow(/^interrupted/);
  expect(service.calls.at(-1)).toMatch(/^abort /);
  expect(readdirSync(directory)).toEqual([]);
});

test('an increment that does not fit the newest image is read in full', async () => {
  const { pull, service, write, restored, notes } = await pullScene();
  await pull();
  await write(0, MIB, 3);
  service.base = '20200101-000000-else';
  const { images } = await pull();
  expect(images[0]).toMatchObject({ mode: 'full', base: null, fullReason: { code: 'base-mismatch' } });
  expect(notes.at(-1)).toContain('the bitmap counts from backup 20200101-000000-else');
  expect((await restored()).equals(diskWith([0, MIB, 3]))).toBe(true);
});

test.each([
  ['is missing', (path: string) => renameSync(path, `${path}.away`)],
  ['has 65536 bytes instead of', (path: string) => truncateSync(path, 65536)],
])('no increment is built on a chain with an image that %s', async (what, harm) => {
  const { pull, notes, folder } = await pullScene();
  const { id } = await pull();
  await pull();
  harm(join(folder, `${id}.qcow2`));
  const { images } = await pull();
  expect(images[0]).toMatchObject({ mode: 'full', fullReason: { code: 'chain-broken' } });
  expect(notes.at(-1)).toContain(what);
});

test('a second agent is refused while the first uses the folder', async () => {
  const { pull, service } = await pullScene();
  service.beforeCommit = () => expect(pull()).rejects.toThrow(/another tidemark is writing/);
  await pull();
  expect(service.calls.filter((call) => call.startsWith('begin'))).toHaveLength(1);
});

test('images without their manifest are not touched', async () => {
  const { pull, folder, service } = await pullScene();
  mkdirSync(folder);
  writeFileSync(join(folder, 'precious.qcow2'), 'x');
  await expect(pull()).rejects.toThrow(/has images \(precious.qcow2\) and no manifest/);
  expect(service.calls).toEqual([]);
  expect(readdirSync(folder)).toEqual(['precious.qcow2']);
});

test.each(['{', '{"format": 2}', '{"format":1,"export":"disk","images":[{"id":"../x"}]}'])(
  'a manifest that is not understood is left alone: %s',
  async (text) => {
    const { pull, folder, directory } = await pullScene();
    mkdirSync(folder);
    writeFileSync(join(folder, 'manifest.json'), text);
    await expect(pull()).rejects.toThrow(/is no manifest that this tidemark understands/);
    expect(readFileSync(join(folder, 'manifest.json'), 'utf8')).toBe(text);
    expect((await verify(directory, quiet)).exports[0]!.problem).toContain('is no manifest');
  },
);

test('a pull keeps to its rate limit', async () => {
  const { pull, write } = await pullScene();
  await write(0, DISK_BYTES, 1);
  const started = performance.now();
  await pull({ bytesPerSecond: 8 * MIB });
  // The rate limit does not wait after the last piece.
  expect(performance.now() - started).toBeGreaterThan(400);
});

test('one rate limit is for all exports and connections together', async () => {
  const names = ['one', 'two', 'three'];
  const { pull, write } = await pullScene(...names);
  for (const name of names) await write(0, DISK_BYTES, 1, name);
  const started = performance.now();
  await pull({ bytesPerSecond: 8 * MIB, connections: 4 });
  // All but the last piece: each export alone takes half a second.
  expect(performance.now() - started).toBeGreaterThan(1400);
});

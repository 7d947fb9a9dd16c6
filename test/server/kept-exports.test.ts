import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { Bitmap } from '../../src/api/bitmap.js';
import type { ExportDescription, ExportSpec, UnservedExport } from '../../src/api/export.js';
import { MIB } from '../../src/base/units.js';
import { NbdClient } from '../../src/client/nbd-client.js';
import { openKeptExports } from '../../src/server/kept-exports-file.js';
import { controlOf } from '../support/control.js';
import { makeImage } from '../support/image.js';
import { Random, testSeed } from '../support/random.js';
import { outcomeOf } from '../support/run.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { startTidemarkIn, type Tidemark, tidemarkProgram } from '../support/tidemark.js';

interface Listed {
  readonly exports: readonly ExportDescription[];
  readonly unserved: readonly UnservedExport[];
}

const tidemark = (...args: string[]) => outcomeOf(process.execPath, tidemarkProgram, ...args);
const add = (server: Tidemark, spec: ExportSpec & { readonly temporary?: boolean }) =>
  controlOf(server).call<ExportDescription>('POST', '/v1/exports', spec);
const remove = (server: Tidemark, name: string, query = '') =>
  controlOf(server).call('DELETE', `/v1/exports/${name}${query}`);
const list = (server: Tidemark) => controlOf(server).call<Listed>('GET', '/v1/exports');
const origins = async (server: Tidemark) =>
  Object.fromEntries((await list(server)).exports.map(({ name, origin }) => [name, origin]));
const bitmapNames = async (server: Tidemark, name: string) =>
  (await controlOf(server).bitmaps(name)).map((bitmap: Bitmap) => bitmap.name);

/** Kills and restarts of the last test. */
const ROUNDS = 8;

const listIn = (folder: string) => join(folder, 'state', 'exports.json');

async function write(server: Tidemark, name: string): Promise<void> {
  const client = await NbdClient.connect(server.uri(name));
  await client.write(0, Buffer.alloc(4096, 7));
  await client.disconnect();
}

test('an export that was added is served again after a restart and a kill, with what its bitmaps know', async () => {
  const folder = scratchFolder();
  let server = await startTidemarkIn(folder, [`vm1=${makeImage(MIB)}`]);
  const path = makeImage(MIB);
  const spec = { name: 'vm2', path, description: 'the second', minBlockBytes: 4096, bitmaps: [{ name: 'nightly' }] };
  const added = await add(server, spec as ExportSpec);
  expect(added).toMatchObject({ origin: 'kept', path });
  await add(server, { name: 'scratch', path: makeImage(MIB), temporary: true });
  await write(server, 'vm2');
  expect(await origins(server)).toEqual({ vm1: 'flag', vm2: 'kept', scratch: 'temporary' });
  await server.stop();

  server = await startTidemarkIn(folder, []);
  expect(await origins(server)).toEqual({ vm2: 'kept' });
  const [again] = (await list(server)).exports;
  expect(again).toMatchObject({ description: 'the second', minBlockBytes: 4096, uri: added.uri });
  expect(await controlOf(server).dirtyRanges('vm2', 'nightly')).not.toEqual([]);
  await server.stop('SIGKILL');

  server = await startTidemarkIn(folder, []);
  expect(await origins(server)).toEqual({ vm2: 'kept' });
  expect(await controlOf(server).dirtyRanges('vm2', 'nightly')).not.toEqual([]);
});

test('an export that was removed does not come back, nor does a bitmap that was removed from one', async () => {
  const folder = scratchFolder();
  let server = await startTidemarkIn(folder, []);
  for (const name of ['vm1', 'vm2']) {
    await add(server, { name, path: makeImage(MIB), bitmaps: [{ name: 'nightly' }, { name: 'weekly' }] });
  }
  await remove(server, 'vm1');
  await controlOf(server).call('DELETE', '/v1/exports/vm2/bitmaps/nightly');
  await server.stop();
  server = await startTidemarkIn(folder, []);
  expect(await origins(server)).toEqual({ vm2: 'kept' });
  expect(await bitmapNames(server, 'vm2')).toEqual(['weekly']);
});

test('with --transient an export is kept too, and its bitmaps are made anew', async () => {
  const folder = scratchFolder();
  let server = await startTidemarkIn(folder, [], ['--transient']);
  await add(server, { name: 'vm1', path: makeImage(MIB), bitmaps: [{ name: 'nightly' }] });
  await server.stop();
  server = await startTidemarkIn(folder, [], ['--transient']);
  expect(await origins(server)).toEqual({ vm1: 'kept' });
  expect(await bitmapNames(server, 'vm1')).toEqual(['nightly']);
});

test('an export whose image is missing does not stop the start, is listed, and is back at the next start', async () => {
  const folder = scratchFolder();
  const path = join(scratchFolder(), 'vm1.img');
  let server = await startTidemarkIn(folder, []);
  await add(server, { name: 'vm1', path, sizeBytes: MIB });
  await add(server, { name: 'vm2', path: makeImage(MIB) });
  await server.stop();
  renameSync(path, `${path}.away`);

  server = await startTidemarkIn(folder, []);
  const { exports, unserved } = await list(server);
  expect(exports.map(({ name }) => name)).toEqual(['vm2']);
  expect(unserved).toEqual([{ name: 'vm1', path, problem: expect.stringContaining(path) }]);
  expect(server.output()).toContain('an export that was added earlier cannot be served');
  const { stdout } = await tidemark('export', 'list', '--control', server.control);
  expect(stdout).toMatch(/^NOT SERVED +PROBLEM\nvm1 +.*vm1\.img/m);
  // No empty disk has taken its place.
  expect(existsSync(path)).toBe(false);
  await server.stop();
  renameSync(`${path}.away`, path);

  server = await startTidemarkIn(folder, []);
  expect(await origins(server)).toEqual({ vm1: 'kept', vm2: 'kept' });
  expect((await list(server)).unserved).toEqual([]);
});

test('an export that cannot be served can be removed, or added again', async () => {
  const folder = scratchFolder();
  const [gone, moved] = [join(scratchFolder(), 'gone.img'), join(scratchFolder(), 'moved.img')];
  let server = await startTidemarkIn(folder, []);
  await add(server, { name: 'gone', path: gone, sizeBytes: MIB });
  await add(server, { name: 'moved', path: moved, sizeBytes: MIB });
  await server.stop();
  rmSync(gone);
  renameSync(moved, `${moved}.new`);
  server = await startTidemarkIn(folder, []);
  expect((await list(server)).unserved.map(({ name }) => name)).toEqual(['gone', 'moved']);
  await remove(server, 'gone');
  await add(server, { name: 'moved', path: `${moved}.new` });
  expect((await list(server)).unserved).toEqual([]);
  await expect(remove(server, 'gone')).rejects.toMatchObject({ problem: { code: 'EXPORT_NOT_FOUND' } });
  await server.stop();
  server = await startTidemarkIn(folder, []);
  expect(await origins(server)).toEqual({ moved: 'kept' });
  expect((await list(server)).unserved).toEqual([]);
});

test('an export of the configuration takes the place of one of the same name that was added', async () => {
  const folder = scratchFolder();
  let server = await startTidemarkIn(folder, []);
  await add(server, { name: 'vm1', path: makeImage(MIB) });
  await server.stop();
  const path = makeImage(MIB);
  server = await startTidemarkIn(folder, [`vm1=${path}`]);
  expect((await list(server)).exports).toMatchObject([{ name: 'vm1', origin: 'flag', path }]);
  expect(server.output()).toContain('the one that was added is forgotten');
  await server.stop();
  server = await startTidemarkIn(folder, []);
  expect(await origins(server)).toEqual({});
});

test('a disk that the configuration serves under another name stays in the list, unserved', async () => {
  const folder = scratchFolder();
  const path = makeImage(MIB);
  let server = await startTidemarkIn(folder, []);
  await add(server, { name: 'old', path, bitmaps: [{ name: 'nightly' }] });
  await server.stop();
  server = await startTidemarkIn(folder, [`new=${path},bitmap=nightly`]);
  expect(await origins(server)).toEqual({ new: 'flag' });
  expect((await list(server)).unserved).toMatchObject([{ name: 'old', problem: expect.stringContaining('"new"') }]);
  await write(server, 'new');
  await server.stop();
  // What was written under the other name is not missed.
  server = await startTidemarkIn(folder, []);
  expect(await origins(server)).toEqual({ old: 'kept' });
  expect(await controlOf(server).bitmap('old', 'nightly')).toMatchObject({ inconsistent: true });
});

test('an image root holds for kept exports too', async () => {
  const folder = scratchFolder();
  let server = await startTidemarkIn(folder, []);
  await add(server, { name: 'vm1', path: makeImage(MIB) });
  await server.stop();
  server = await startTidemarkIn(folder, [], ['--image-root', scratchFolder()]);
  expect((await list(server)).unserved).toMatchObject([
    { name: 'vm1', problem: expect.stringContaining('image root') },
  ]);
});

test('a removal that is refused keeps the export in the list, and one that is forced does not', async () => {
  const folder = scratchFolder();
  let server = await startTidemarkIn(folder, []);
  await add(server, { name: 'vm1', path: makeImage(MIB) });
  const client = await NbdClient.connect(server.uri('vm1'));
  await expect(remove(server, 'vm1')).rejects.toMatchObject({ problem: { code: 'EXPORT_IN_USE' } });
  const listed = readFileSync(listIn(folder), 'utf8');
  expect(JSON.parse(listed).exports).toMatchObject([{ spec: { name: 'vm1' }, by: expect.stringMatching(/./) }]);
  await remove(server, 'vm1', '?force=true');
  await client.disconnect().catch(() => {});
  expect(JSON.parse(readFileSync(listIn(folder), 'utf8')).exports).toEqual([]);
  await server.stop();
  server = await startTidemarkIn(folder, []);
  expect(await origins(server)).toEqual({});
});

test('if the list cannot be written, nothing is added or removed', async () => {
  const folder = scratchFolder();
  const server = await startTidemarkIn(folder, []);
  await add(server, { name: 'vm1', path: makeImage(MIB) });
  // Even root cannot replace a folder by a file.
  rmSync(listIn(folder));
  mkdirSync(listIn(folder));
  const unusable = { problem: { code: 'STORE_UNUSABLE', detail: expect.stringContaining('exports.json') } };
  const path = makeImage(MIB);
  await expect(add(server, { name: 'vm2', path })).rejects.toMatchObject(unusable);
  await expect(remove(server, 'vm1')).rejects.toMatchObject(unusable);
  expect(await origins(server)).toEqual({ vm1: 'kept' });
  await write(server, 'vm1');
  rmSync(listIn(folder), { recursive: true });
  await add(server, { name: 'vm2', path });
  await remove(server, 'vm1');
  expect(await origins(server)).toEqual({ vm2: 'kept' });
});

test.each([
  ['no JSON', () => '{'],
  ['another version', (text: string) => text.replace('"version": 1', '"version": 2')],
  ['a key that is not known', (text: string) => text.replace('"path"', '"encrypted": true, "path"')],
  ['a relative path', (text: string) => text.replace(/"path": "[^"]*"/, '"path": "vm1.img"')],
  ['a size of a granule that is text', (text: string) => text.replace('65536', '"64K"')],
])('a list with %s is refused, because no disk may be missing without notice', async (_what, spoil) => {
  const folder = scratchFolder();
  const path = join(folder, 'exports.json');
  const kept = await openKeptExports(folder);
  await kept.keep({ name: 'vm1', path: '/vm1.img', bitmaps: [{ name: 'nightly', granularityBytes: 65_536 }] }, 'me');
  expect((await openKeptExports(folder)).list()).toEqual(kept.list());
  const before = readFileSync(path, 'utf8');
  writeFileSync(path, spoil(before));
  expect(readFileSync(path, 'utf8')).not.toBe(before);
  const refused = { code: 'CONFIG_INVALID', message: expect.stringContaining(path) };
  await expect(openKeptExports(folder)).rejects.toMatchObject(refused);
  writeFileSync(path, before);
  chmodSync(path, 0o644);
  await expect(openKeptExports(folder)).rejects.toMatchObject(refused);
});

test('a server does not start with a damaged list', async () => {
  const folder = scratchFolder();
  mkdirSync(join(folder, 'state'), { mode: 0o700 });
  writeFileSync(listIn(folder), '{', { mode: 0o600 });
  const serve = ['serve', '--state', join(folder, 'state'), '--unix', join(folder, 'nbd.sock')];
  const { code, stderr } = await tidemark(...serve);
  expect(code).toBe(2);
  expect(stderr).toContain(listIn(folder));
});

test('the command says where each export comes from, and which a restart brings back', async () => {
  const folder = scratchFolder();
  const file = join(folder, 'tidemark.toml');
  writeFileSync(file, `[[export]]\nname = "vm1"\npath = "${makeImage(MIB)}"\n`);
  const server = await startTidemarkIn(folder, [], ['--config', file]);
  const ask = async (...args: string[]) => (await tidemark(...args, '--control', server.control)).stdout;
  await ask('export', 'add', `vm2=${makeImage(MIB)}`);
  await ask('export', 'add', '--temporary', `vm3=${makeImage(MIB)}`);
  const rows = (await ask('export', 'list')).trimEnd().split('\n');
  expect(rows.map((row) => row.split(/ +/).at(-2))).toEqual(['ORIGIN', 'file', 'kept', 'temporary']);
  expect(await ask('export', 'show', 'vm3')).toContain('origin       temporary (');
  expect(await ask('export', 'remove', 'vm2')).toBe('no longer serving vm2\n');
  expect(await ask('export', 'remove', 'vm1')).toContain(
    'vm1, until the next start, because the configuration file has it\n',
  );
});

/** What the answers so far say must be served, and what may be, because its command got no answer. */
class Expected {
  readonly served = new Set<string>();
  readonly open = new Set<string>();

  async follow(name: string, isAdded: boolean, call: Promise<unknown>): Promise<void> {
    this.open.add(name);
    try {
      await call;
    } catch {
      return;
    }
    this.open.delete(name);
    if (isAdded) this.served.add(name);
    else this.served.delete(name);
  }
}

test('after kills at any moment, exactly what was added and not removed is served', { timeout: 120_000 }, async () => {
  const seed = testSeed();
  const random = new Random(seed);
  const folder = scratchFolder();
  const images = Object.fromEntries(['a', 'b', 'c', 'd'].map((name) => [name, makeImage(MIB)]));
  let expected = new Expected();
  for (let round = 0; round < ROUNDS; round++) {
    const server = await startTidemarkIn(folder, []);
    const found = new Set(Object.keys(await origins(server)));
    for (const name of Object.keys(images)) {
      if (!expected.open.has(name)) {
        expect(found.has(name), `seed ${seed}, round ${round}, ${name}`).toBe(expected.served.has(name));
      }
    }
    expected = new Expected();
    for (const name of found) expected.served.add(name);
    const calls = Object.entries(images).map(async ([name, path]) => {
      for (let i = 0; i < 8; i++) {
        const isAdded = !expected.served.has(name);
        await expected.follow(name, isAdded, isAdded ? add(server, { name, path }) : remove(server, name));
        if (expected.open.has(name)) return;
      }
    });
    await delay(random.below(150));
    await server.stop('SIGKILL');
    await Promise.all(calls);
  }
});

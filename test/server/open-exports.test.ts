import { linkSync, mkdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import type { ExportSpec } from '../../src/api/export.js';
import { OK } from '../../src/base/errno.js';
import { Turnstile } from '../../src/base/turnstile.js';
import { KIB, MIB } from '../../src/base/units.js';
import { bitmapKey, exportKey } from '../../src/bitmap/store/keys.js';
import { LmdbStore } from '../../src/bitmap/store/lmdb-store.js';
import { SealedStore } from '../../src/bitmap/store/sealed-store.js';
import { readExport } from '../../src/bitmap/store/stored-exports.js';
import type { Export } from '../../src/export/export.js';
import { DiskClaims } from '../../src/server/disk-claims.js';
import { openExports } from '../../src/server/open-export.js';
import { exportHost } from '../support/export-host.js';
import { kill } from '../support/inside.js';
import { scratchFolder } from '../support/scratch-folder.js';

const DISK_BYTES = 16 * MIB;
const GRANULE_BYTES = 64 * KIB;

/** Images, and a store in LMDB whose commits are counted. */
async function scene() {
  const folder = scratchFolder();
  const directory = join(folder, 'store');
  mkdirSync(directory);
  const lmdb = LmdbStore.open(directory);
  onTestFinished(() => lmdb.close());
  const commit = vi.spyOn(lmdb, 'commit');
  const store = await SealedStore.over(lmdb);
  /** As a server that has just been started. Returns the exports and the number of commits. */
  const start = async (specs: readonly ExportSpec[], claims = new DiskClaims()) => {
    commit.mockClear();
    const exports = await openExports(specs, exportHost(store, claims), 'operator', new Turnstile(32));
    return { exports, commits: commit.mock.calls.length };
  };
  const spec = (name: string): ExportSpec => {
    const path = join(folder, `${name}.img`);
    writeFileSync(path, '');
    truncateSync(path, DISK_BYTES);
    return { name, path, bitmaps: [{ name: 'nightly' }] };
  };
  return { folder, lmdb, store, commit, start, spec };
}

const each = (exports: readonly Export[], work: (served: Export) => Promise<void>) => Promise.all(exports.map(work));
const close = (exports: readonly Export[]) => each(exports, (served) => served.close());

async function write(served: Export | undefined, offset: number): Promise<void> {
  expect(await served?.device.write(Buffer.alloc(GRANULE_BYTES, 1), 0, GRANULE_BYTES, offset)).toBe(OK);
}

const nightlies = (exports: readonly Export[]) => exports.map((served) => served.getBitmap('nightly'));

describe('a start with many exports', () => {
  test('makes one commit, whether it is the first one or comes after a kill or a stop', async () => {
    const { start, spec } = await scene();
    const specs = Array.from({ length: 300 }, (_, i) => spec(`disk-${i}`));
    const first = await start(specs);
    expect(first.commits).toBe(1);
    expect(first.exports.map(({ name }) => name)).toEqual(specs.map(({ name }) => name));

    await write(first.exports[7], 5 * MIB);
    await each(first.exports, kill);
    const second = await start(specs);
    expect(second.commits).toBe(1);
    const dirty = nightlies(second.exports).map(({ dirtyBytes }) => dirtyBytes);
    expect(dirty.map((bytes) => bytes >= GRANULE_BYTES)).toEqual(specs.map((_, i) => i === 7));
    expect(nightlies(second.exports).filter(({ inconsistent }) => inconsistent !== undefined)).toEqual([]);

    await close(second.exports);
    const third = await start(specs);
    expect(third.commits).toBe(1);
    expect(nightlies(third.exports).map(({ dirtyBytes }) => dirtyBytes)).toEqual(dirty);
    await close(third.exports);
  });

  test('opens none if one of them fails, and leaves the store as it was', async () => {
    const { start, spec, store, commit } = await scene();
    const specs = ['one', 'two', 'three'].map(spec);
    const first = await start(specs);
    await write(first.exports[0], 0);
    await each(first.exports, kill);

    const claims = new DiskClaims();
    rmSync(specs[1]!.path);
    await expect(start(specs, claims)).rejects.toThrow(`there is no image ${specs[1]!.path}`);
    expect(commit).not.toHaveBeenCalled();
    expect(readExport(store, 'one')?.clean).toBe(false);

    // Neither the locks nor the claims of the others are held.
    const { exports } = await start([specs[0]!, specs[2]!], claims);
    expect(nightlies(exports).map(({ dirtyBytes }) => dirtyBytes >= GRANULE_BYTES)).toEqual([true, false]);
    await close(exports);
  });

  test('opens none if the store fails, and says so', async () => {
    const { start, spec, commit } = await scene();
    const specs = ['one', 'two', 'three'].map(spec);
    const claims = new DiskClaims();
    commit.mockRejectedValue(new Error('No space left on device'));
    await expect(start(specs, claims)).rejects.toThrow(
      'the bitmaps of "one" and 2 more exports cannot be stored: No space left on device',
    );
    commit.mockRestore();
    await close((await start(specs, claims)).exports);
  });

  test('names the export that comes first if two have one disk', async () => {
    const { folder, start, spec } = await scene();
    const one = spec('one');
    const path = join(folder, 'link.img');
    linkSync(one.path, path);
    await expect(start([one, { ...spec('two'), path }])).rejects.toThrow('which this server serves, as "one"');
    const made = { path: join(folder, 'new.img'), sizeBytes: DISK_BYTES };
    await expect(
      start([
        { name: 'three', ...made },
        { name: 'four', ...made },
      ]),
    ).rejects.toThrow(`this server serves ${made.path} already, as "three"`);
  });

  test('repairs a damaged export by a commit of its own', async () => {
    const { start, spec, store, lmdb } = await scene();
    const specs = ['one', 'two', 'three'].map(spec);
    await close((await start(specs)).exports);
    const key = bitmapKey('two', 'nightly');
    const damaged = Buffer.from(lmdb.get(key)!);
    damaged[0]! ^= 1;
    await lmdb.commit([{ key, value: damaged }]);
    const second = await start(specs);
    expect(second.commits).toBe(2);
    expect(nightlies(second.exports).map(({ inconsistent }) => inconsistent)).toEqual([
      undefined,
      expect.stringContaining('damaged'),
      undefined,
    ]);
    for (const { name } of specs) expect(store.read(name, () => {})).toBeUndefined();
    await close(second.exports);
  });

  test('tells no export that is opened too that its disk was served as another one', async () => {
    const { start, spec, store } = await scene();
    const [one, two] = [spec('one'), spec('two')];
    await each((await start([one, two])).exports, kill);
    const { exports } = await start([
      { ...one, path: two.path },
      { ...two, path: one.path },
    ]);
    expect(store.get(exportKey('one'))?.toString()).not.toContain('servedAs');
    expect(nightlies(exports).map(({ inconsistent }) => inconsistent)).toEqual([
      'another disk is in its place',
      'another disk is in its place',
    ]);
    await close(exports);
    const again = await start([one, two]);
    expect(nightlies(again.exports).every(({ inconsistent }) => inconsistent !== undefined)).toBe(true);
    await close(again.exports);
  });
});

import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { KIB, MIB } from '../../src/base/units.js';
import { NbdClient } from '../../src/client/nbd-client.js';
import { makeImage } from '../support/image.js';
import { outcomeOf, run } from '../support/run.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { type SmallDisk, smallDisk } from '../support/small-disk.js';
import { dirtyRanges } from '../support/status-map.js';
import { startTidemarkIn, type Tidemark, tidemarkProgram } from '../support/tidemark.js';

const REGION_BYTES = 64 * KIB;
const data = Buffer.alloc(4 * KIB, 7);

function tidemark(...args: string[]) {
  return outcomeOf(process.execPath, tidemarkProgram, ...args);
}

async function bitmapOf(server: Tidemark) {
  return JSON.parse(
    (await tidemark('bitmap', 'show', 'disk', 'nightly', '--json', '--control', server.control)).stdout,
  );
}

/** A server whose state is on the small disk, and a client of it. */
async function serveOn(disk: SmallDisk, image: string, ...options: string[]) {
  const state = ['--state', join(disk.path, 'state'), '--region-size', '64K', '--cool-after', '0', ...options];
  const server = await startTidemarkIn(scratchFolder(), [`disk=${image},bitmap=nightly`], state);
  return { server, client: await NbdClient.connect(server.uri('disk')) };
}

/** Writes to one region after the other until a write is refused. Resolves to the region and the error. */
async function writeUntilRefused(client: NbdClient): Promise<{ region: number; code: string }> {
  for (let region = 0; region < 4096; region++) {
    try {
      await client.write(region * REGION_BYTES, data);
    } catch (error) {
      return { region, code: (error as { code: string }).code };
    }
  }
  throw new Error('no write was refused');
}

test('with a full state directory, writes that cannot be recorded are refused, until there is space again', async () => {
  const disk = await smallDisk(2 * MIB);
  const image = makeImage(256 * MIB);
  const { server, client } = await serveOn(disk, image);
  disk.fill();
  const { region, code } = await writeUntilRefused(client);
  expect(['ENOSPC', 'EIO']).toContain(code);
  await expect
    .poll(() => server.output())
    .toContain('a write was refused: it could not be recorded in the state directory');
  const at = region * REGION_BYTES;
  expect(
    readFileSync(image)
      .subarray(at, at + data.length)
      .every((byte) => byte === 0),
  ).toBe(true);
  // A dirty granule needs no record, but the store cannot be trusted, so this write is refused too.
  await expect(client.write(0, data)).rejects.toThrow();
  expect((await tidemark('bitmap', 'clear', 'disk', 'nightly', '--control', server.control)).stderr).toMatch(
    /^tidemark: the change could not be stored or undone; .*\(check that the state directory is writable and its disk is not full/,
  );

  disk.makeRoom();
  await client.write(at, data);
  await client.write(0, data);
  await client.disconnect();
  expect(await dirtyRanges(server.uri('disk'), 'nightly')).toEqual([{ offset: 0, length: at + REGION_BYTES }]);
  expect(await server.stop()).toBe(0);

  const { server: next } = await serveOn(disk, image);
  expect(await dirtyRanges(next.uri('disk'), 'nightly')).toEqual([{ offset: 0, length: at + REGION_BYTES }]);
});

test('with a full state directory, a resize that cannot be stored is refused, until there is space again', async () => {
  const disk = await smallDisk(2 * MIB);
  const { server, client } = await serveOn(disk, makeImage(256 * MIB));
  disk.fill();
  await writeUntilRefused(client);
  const resize = () => tidemark('export', 'resize', 'disk', '512M', '--control', server.control);
  expect((await resize()).stderr).toMatch(
    /^tidemark: the new size of "disk" could not be stored: No space left on device \(.*then resize it again\)\n$/,
  );
  disk.makeRoom();
  expect(await resize()).toMatchObject({ code: 0, stdout: 'disk has 512 MiB now\n' });
  await client.disconnect();
  const dirty = await dirtyRanges(server.uri('disk'), 'nightly');
  expect(dirty.at(-1)).toEqual({ offset: 256 * MIB, length: 256 * MIB });
});

test.each(['refuse', 'continue'])(
  'with a full state directory and --on-bitmap-error=%s the server stops, and says what that costs',
  async (what) => {
    const disk = await smallDisk(2 * MIB);
    const { server, client } = await serveOn(disk, makeImage(256 * MIB), '--on-bitmap-error', what);
    disk.fill();
    for (let region = 0; region < 64; region++) await client.write(region * REGION_BYTES, data).catch(() => {});
    await client.disconnect();
    expect(await server.stop()).toBe(1);
    expect(server.output()).toContain('the bitmaps of "disk" could not be stored at the close: ENOSPC');
    // LMDB's message just before it writes to memory that is not its own.
    expect(server.output()).not.toContain('Write error');
  },
);

test('with --on-bitmap-error=continue, writes continue and the bitmap is inconsistent from then on', async () => {
  const disk = await smallDisk(2 * MIB);
  const image = makeImage(256 * MIB);
  const { server, client } = await serveOn(disk, image, '--on-bitmap-error', 'continue');
  disk.fill();
  for (let region = 0; region < 4096; region++) await client.write(region * REGION_BYTES, data);
  await client.disconnect();
  expect(await bitmapOf(server)).toMatchObject({ inconsistent: true, recording: false });
  expect((await bitmapOf(server)).inconsistentReason).toMatch(/^a write could not be recorded in the store: E/);
  await expect.poll(() => server.output()).toContain('went on; the persistent bitmaps are inconsistent now');
  disk.makeRoom();
  // Within seconds it becomes durable. Then the bitmap stays inconsistent even after a crash.
  await expect.poll(() => storedReason(disk), { timeout: 30_000 }).toMatch(/could not be recorded/);
  await server.stop('SIGKILL');

  const { server: next } = await serveOn(disk, image);
  expect(await bitmapOf(next)).toMatchObject({ inconsistent: true });
  expect((await tidemark('bitmap', 'remove', 'disk', 'nightly', '--control', next.control)).code).toBe(0);
  expect((await tidemark('bitmap', 'add', 'disk', 'nightly', '--control', next.control)).code).toBe(0);
  expect(await bitmapOf(next)).toMatchObject({ inconsistent: false, recording: true });
});

/** What a copy of the store says about the bitmap. The server is using the store itself. */
async function storedReason(disk: SmallDisk): Promise<string> {
  const copy = scratchFolder();
  await run('cp', '-r', join(disk.path, 'state', 'store'), copy);
  return (await tidemark('state', 'check', '--state', copy)).stdout;
}

test('a full state directory is refused at the start, with a hint', async () => {
  const disk = await smallDisk(2 * MIB);
  const state = join(disk.path, 'state');
  mkdirSync(state, { mode: 0o700 });
  disk.fill();
  const places = ['--unix', join(scratchFolder(), 'nbd.sock'), '--control', join(scratchFolder(), 'control.sock')];
  const refused = await tidemark('serve', '--state', state, ...places);
  expect(refused.stderr).toMatch(
    /^tidemark: not enough space for the state directory .*: 256 KiB needed, .* free \(free some space/,
  );
  expect(refused.code).toBe(1);
});

test('a state directory that is not writable is refused at the start, with a hint', async () => {
  const disk = await smallDisk(2 * MIB);
  mkdirSync(join(disk.path, 'state'));
  await disk.makeReadOnly();
  const places = ['--unix', join(scratchFolder(), 'nbd.sock'), '--control', join(scratchFolder(), 'control.sock')];
  const refused = await tidemark('serve', '--state', join(disk.path, 'state'), ...places);
  expect(refused.stderr).toMatch(
    /^tidemark: the state directory .* cannot be used: EROFS.*\(its file system is read-only: choose another one with --state DIR\)/,
  );
  expect(refused.code).toBe(1);
});

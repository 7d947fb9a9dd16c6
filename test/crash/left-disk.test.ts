import {
  closeSync,
  copyFileSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { grounds } from '../../src/api/values.js';
import { KIB, MIB } from '../../src/base/units.js';
import { NbdClient } from '../../src/client/nbd-client.js';
import { controlOf } from '../support/control.js';
import { makeImage } from '../support/image.js';
import { attachLoop } from '../support/loop-device.js';
import { Random, testSeed } from '../support/random.js';
import { outcomeOf } from '../support/run.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { startTidemarkIn, type Tidemark, tidemarkProgram } from '../support/tidemark.js';

const DISK_BYTES = 8 * MIB;
/** Regions stay marked, however slow the machine is. */
const options = ['--cool-after', '3600'];

/** The bitmap as the server describes it after a restart, if `change` happened to the image at `moment`. */
async function afterwards(moment: 'served' | 'away', change: (image: string) => void, signal?: NodeJS.Signals) {
  const [folder, image] = [scratchFolder(), makeImage(DISK_BYTES)];
  const start = () => startTidemarkIn(folder, [`disk=${image},bitmap=nightly`], options);
  const server = await start();
  await write(server);
  if (moment === 'served') change(image);
  const code = await server.stop(signal);
  if (moment === 'away') change(image);
  const next = await start();
  return { code, log: next.output(), bitmap: await controlOf(next).bitmap('disk', 'nightly') };
}

async function write(server: Tidemark): Promise<void> {
  const client = await NbdClient.connect(server.uri('disk'));
  await client.write(0, Buffer.alloc(4 * KIB, 7));
  await client.disconnect();
}

/** Replaces the image by a copy with one changed byte. */
function swap(image: string): void {
  const other = `${image}.other`;
  const content = readFileSync(image);
  content[5 * MIB] = 9;
  writeFileSync(other, content);
  renameSync(other, image);
}

/** Restores an old copy, and gives it the time that the image had. */
function restore(image: string): void {
  const { atime, mtime } = statSync(image);
  const copy = join(scratchFolder(), 'copy');
  copyFileSync(image, copy);
  writeFileSync(image, readFileSync(copy));
  utimesSync(image, atime, mtime);
}

test.each<[string, 'served' | 'away', (image: string) => void, RegExp]>([
  ['written', 'away', (image) => writeFileSync(image, 'x', { flag: 'r+' }), /^modified at .* while not served$/],
  ['restored with its old time', 'away', restore, /^(modified|replaced or altered) at .* while not served$/],
  [
    'cut off',
    'away',
    (image) => truncateSync(image, DISK_BYTES / 2),
    /^its size changed from 8388608 to 4194304 bytes/,
  ],
  ['swapped', 'away', swap, /^another disk is in its place$/],
  ['swapped', 'served', swap, /^another disk is in its place$/],
])('an image that is %s while it is %s makes its bitmaps inconsistent', async (_what, moment, change, reason) => {
  const { code, log, bitmap } = await afterwards(moment, change);
  expect(code).toBe(0);
  expect(bitmap).toMatchObject({ inconsistent: true, recording: false });
  expect(bitmap.inconsistentReason).toMatch(reason);
  expect(log).toContain('bitmaps are inconsistent. Remove them, add them again, and take a full backup');
});

test('an image that is swapped after a crash makes its bitmaps inconsistent', async () => {
  const { bitmap } = await afterwards('away', swap, 'SIGKILL');
  expect(bitmap).toMatchObject({ inconsistent: true, inconsistentReason: 'another disk is in its place' });
});

test('an image that nobody touched keeps its bitmaps, after a crash with what is marked dirty', async () => {
  const clean = await afterwards('away', () => {});
  expect(clean.bitmap).toMatchObject({ inconsistent: false, dirtyBytes: 64 * KIB, trust: { ground: 'times' } });
  expect(clean.log).toContain("the bitmaps are trusted: the file's timestamps are unchanged since it was last served");
  const crashed = await afterwards('away', () => {}, 'SIGKILL');
  expect(crashed.bitmap.trust).toMatchObject({ ground: 'heartbeat' });
  expect(crashed.bitmap).toMatchObject({ inconsistent: false, dirtyBytes: 64 * KIB });
  expect(crashed.log).toContain('after a crash, marked regions count as dirty');
});

describe.each(['1', '3'])(
  'a block device whose server, with %s threads, is killed in the middle of writes',
  (threads) => {
    /** What the server says of the bitmap afterwards, when `befall` came over the device in between. */
    async function killedWriting(befall: (device: string) => void) {
      const device = attachLoop(makeImage(DISK_BYTES));
      const folder = scratchFolder();
      const start = () =>
        startTidemarkIn(folder, [`disk=${device},bitmap=nightly`], [...options, '--threads', threads]);
      const server = await start();
      const random = new Random(testSeed());
      // Writes are in flight when the server is killed.
      let writes = 0;
      const writeOn = async () => {
        const client = await NbdClient.connect(server.uri('disk'));
        for (;;) {
          await client.write(random.below(DISK_BYTES / KIB - 64) * KIB, Buffer.alloc(64 * KIB, 7));
          writes++;
        }
      };
      const writers = Array.from({ length: Number(threads) }, () => writeOn().catch(() => {}));
      await vi.waitFor(() => expect(writes).toBeGreaterThan(150), { timeout: 30_000 });
      await server.stop('SIGKILL');
      await Promise.all(writers);
      befall(device);
      return controlOf(await start()).bitmap('disk', 'nightly');
    }

    test('is trusted if nobody else wrote to it', async () => {
      const bitmap = await killedWriting(() => {});
      expect(bitmap).toMatchObject({ inconsistent: false, trust: { ground: 'write-count' } });
    });

    test('is not trusted if another program wrote to it', async () => {
      const bitmap = await killedWriting((device) => {
        // More than the server can have overwritten in the page cache.
        const fd = openSync(device, 'r+');
        for (let i = 0; i < 8; i++) {
          writeSync(fd, Buffer.alloc(DISK_BYTES, i), 0, DISK_BYTES, 0);
          fsyncSync(fd);
        }
        closeSync(fd);
      });
      expect(bitmap.inconsistentReason).toMatch(/^written after its server was killed: .* by the kernel's count$/);
    });
  },
);

test('`bitmap show` says why a bitmap is trusted after a start', async () => {
  const [folder, image] = [scratchFolder(), makeImage(DISK_BYTES)];
  const show = async () => {
    const server = await startTidemarkIn(folder, [`disk=${image},bitmap=nightly`]);
    const args = ['bitmap', 'show', 'disk', 'nightly', '--control', server.control];
    const { stdout } = await outcomeOf(process.execPath, tidemarkProgram, ...args);
    await server.stop();
    return stdout;
  };
  expect(await show()).not.toContain('trusted');
  expect(await show()).toContain(`trusted      ${grounds.times}\n`);
});

test('an image that is deleted while it is served stays usable, and its loss is noticed at the next start', async () => {
  const [folder, image] = [scratchFolder(), makeImage(DISK_BYTES)];
  const start = () => startTidemarkIn(folder, [`disk=${image},bitmap=nightly`], options);
  const server = await start();
  rmSync(image);
  await write(server);
  expect(await server.stop()).toBe(0);
  await expect(start()).rejects.toThrow(`tidemark: there is no image ${image} (check the path`);
  writeFileSync(image, Buffer.alloc(DISK_BYTES));
  expect(await controlOf(await start()).bitmap('disk', 'nightly')).toMatchObject({ inconsistent: true });
});

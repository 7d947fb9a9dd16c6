// The server restarts while a file system on Linux's NBD client is being written. nbd-client 3.24 ends at the first
// lost connection, whatever -persist promises, and the kernel fails the requests in flight with EIO. So the disk is
// unmounted in the middle of the writes and attached again. Then everything that was synced must be there.

import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { MIB } from '../../src/base/units.js';
import { NbdGuest } from '../guest/nbd-guest.js';
import { changedRanges, makePatternImage, notCovered, totalBytes } from '../guest/pattern-disk.js';
import { freePort } from '../support/free-port.js';
import { run } from '../support/run.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { dirtyRanges } from '../support/status-map.js';
import { startTidemarkIn } from '../support/tidemark.js';

const LIMIT_MILLISECONDS = 170_000;
const DISK_BYTES = 128 * MIB;
const LEAST_FILES = 10;

let guest: NbdGuest;

beforeAll(async () => {
  guest = await NbdGuest.start();
}, LIMIT_MILLISECONDS);
afterAll(() => guest?.kill());

/** Writes and syncs files, each filled with its number, until that fails. Notes the numbers of the synced ones. */
const writer = [
  'rm -f /tmp/synced /tmp/ended; touch /tmp/synced',
  '{ i=1; while yes $i | head -c $((i * 1000)) | dd of=/mnt/$i bs=64k iflag=fullblock conv=fsync',
  'do echo $i >>/tmp/synced; i=$((i + 1)); done; touch /tmp/ended; } >/dev/null 2>&1 &',
].join('; ');

async function syncedFiles(): Promise<number> {
  return Number(await guest.run('wc -l </tmp/synced'));
}

/** The content of file `i`. */
function contentOf(i: number): Buffer {
  return Buffer.alloc(i * 1000, `${i}\n`);
}

test.each(['SIGKILL', 'SIGTERM'] as const)(
  'a restart by %s loses nothing that was synced',
  {
    timeout: LIMIT_MILLISECONDS,
  },
  async (signal) => {
    const [folder, image, port] = [scratchFolder(), makePatternImage(DISK_BYTES), await freePort()];
    const base = readFileSync(image);
    const start = () =>
      startTidemarkIn(
        folder,
        [`disk=${image},bitmap=nightly`],
        [...['--listen', `127.0.0.1:${port}`], ...['--region-size', '1M']],
      );
    const server = await start();
    const device = await guest.attach('disk', port, ['-nonetlink', '-persist']);
    await guest.run(`mke2fs -q -F -t ext4 -E nodiscard ${device} && mount ${device} /mnt`);
    await guest.run(writer);
    await expect.poll(syncedFiles, { timeout: 60_000 }).toBeGreaterThan(LEAST_FILES);
    await server.stop(signal);
    const restarted = await start();
    await guest.run('until [ -e /tmp/ended ]; do sleep 0.1; done; umount /mnt');
    const synced = await syncedFiles();

    // Mounting replays the journal.
    const again = await guest.attach('disk', port);
    await guest.run(`mount ${again} /mnt && umount /mnt && e2fsck -fn ${again} && nbd-client -d ${again}`);
    await run('e2fsck', '-fn', image);
    const files = join(folder, 'files');
    mkdirSync(files);
    await run('debugfs', '-R', `rdump / ${files}`, image);
    for (let i = 1; i <= synced; i++) {
      expect(readFileSync(join(files, String(i))).equals(contentOf(i)), `file ${i} of ${synced}`).toBe(true);
    }
    const [changed, dirty] = [
      changedRanges(base, readFileSync(image)),
      await dirtyRanges(restarted.uri('disk'), 'nightly'),
    ];
    expect(notCovered(changed, dirty)).toEqual([]);
    expect(totalBytes(dirty)).toBeLessThan(DISK_BYTES);
  },
);

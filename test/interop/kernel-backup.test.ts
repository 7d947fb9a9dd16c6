// Backups of a disk that a guest's kernel writes to. Each view must be a file system as sound as after a power cut,
// with everything that was synced before the cut. The second must differ from the first only where its bitmap is dirty.

import { copyFileSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { MIB } from '../../src/base/units.js';
import { NbdGuest } from '../guest/nbd-guest.js';
import { changedRanges, notCovered, PatternDisk } from '../guest/pattern-disk.js';
import { type Control, controlOf } from '../support/control.js';
import type { Range } from '../support/image.js';
import { outcomeOf, run } from '../support/run.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { dirtyRanges } from '../support/status-map.js';

const LIMIT_MILLISECONDS = 170_000;
const FILE_BYTES = 40_000;

let guest: NbdGuest;

beforeAll(async () => {
  guest = await NbdGuest.start();
}, LIMIT_MILLISECONDS);
afterAll(() => guest?.kill());

/**
 * Writes new files, each filled with its number, and overwrites one file repeatedly. Notes which numbers were synced.
 */
const writer = [
  `{ for i in $(seq 2000); do yes $i | head -c ${FILE_BYTES} >/tmp/content`,
  '[ -e /tmp/stop ] && break',
  'dd if=/tmp/content of=/mnt/$i conv=fsync && echo $i >>/tmp/synced',
  'dd if=/tmp/content of=/mnt/same conv=notrunc,fsync; done; touch /tmp/ended; } >/dev/null 2>&1 &',
].join('; ');

async function syncedFiles(): Promise<number> {
  return Number(await guest.run('touch /tmp/synced; wc -l </tmp/synced'));
}

interface ViewCopy {
  readonly content: Buffer;
  readonly dirty: readonly Range[];
  readonly mode: string;
}

/** Begins a backup while the guest writes, copies the view, and commits. */
async function takeBackup(control: Control, path: string): Promise<ViewCopy> {
  const backup = await control.call<{ id: string; exports: { uri: string; mode: string }[] }>('POST', '/v1/backups', {
    exports: ['disk'],
    bitmap: 'nightly',
  });
  const { uri, mode } = backup.exports[0]!;
  await run('nbdcopy', uri, path);
  const dirty = await dirtyRanges(uri, 'nightly');
  await control.call('POST', `/v1/backups/${backup.id}/commit`);
  return { content: readFileSync(path), dirty, mode };
}

/** Replays the journal in a copy of the view, and looks for the files 1 to `synced`. */
async function expectSound(view: string, synced: number): Promise<void> {
  const [image, files] = [`${view}.replayed`, `${view}.files`];
  copyFileSync(view, image);
  const { code, stdout } = await outcomeOf('e2fsck', '-fy', '-E', 'journal_only', image);
  expect(code, stdout).toBeLessThanOrEqual(1);
  await run('e2fsck', '-fn', image);
  mkdirSync(files);
  await run('debugfs', '-R', `rdump / ${files}`, image);
  for (let i = 1; i <= synced; i++) {
    const isThere = readFileSync(join(files, String(i))).equals(Buffer.alloc(FILE_BYTES, `${i}\n`));
    expect(isThere, `file ${i} of ${synced}`).toBe(true);
  }
}

test('views of a mounted disk, full and incremental', { timeout: LIMIT_MILLISECONDS }, async () => {
  const disk = await PatternDisk.attach(guest, 128 * MIB);
  await guest.run(`mke2fs -q -F -t ext4 -E nodiscard ${disk.device} && mount ${disk.device} /mnt`);
  await guest.run(writer);
  const [control, folder] = [await controlOf(disk.server), scratchFolder()];
  const views: ViewCopy[] = [];
  for (const name of ['full', 'incremental']) {
    const before = await syncedFiles();
    await expect.poll(syncedFiles, { timeout: 60_000 }).toBeGreaterThan(before + 10);
    const synced = await syncedFiles();
    views.push(await takeBackup(control, join(folder, name)));
    // It has continued to write in the meantime.
    expect(await syncedFiles()).toBeGreaterThan(synced);
    await expectSound(join(folder, name), synced);
  }
  await guest.run('touch /tmp/stop; until [ -e /tmp/ended ]; do sleep 0.1; done; umount /mnt');
  await disk.detach();

  const [full, incremental] = [views[0]!, views[1]!];
  expect([full.mode, incremental.mode]).toEqual(['full', 'incremental']);
  const changed = changedRanges(full.content, incremental.content);
  expect(changed.length).toBeGreaterThan(0);
  expect(notCovered(changed, incremental.dirty)).toEqual([]);
  expect(notCovered(changedRanges(incremental.content, readFileSync(disk.image)), await disk.dirtyRanges())).toEqual(
    [],
  );
});

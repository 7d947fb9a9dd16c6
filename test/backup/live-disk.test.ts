import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { Backup } from '../../src/api/backup.js';
import { OVERWRITTEN_CONTEXT } from '../../src/base/metadata-contexts.js';
import { KIB, MIB } from '../../src/base/units.js';
import { extentsOf } from '../../src/client/block-status-walk.js';
import { NbdClient } from '../../src/client/nbd-client.js';
import { openDiskAt } from '../../src/posix/find-disk.js';
import { Control } from '../support/control.js';
import { expectSame } from '../support/device-content.js';
import { Random, testSeed } from '../support/random.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { startTidemark } from '../support/tidemark.js';

const DISK_BYTES = 16 * MIB;
const PIECE_BYTES = 256 * KIB;

/** No writer writes there. */
const QUIET_BYTES = MIB;

/** Writes to random places of the disk until told to stop. */
async function change(client: NbdClient, random: Random, stopped: () => boolean): Promise<void> {
  const places = (DISK_BYTES - QUIET_BYTES) / (4 * KIB);
  while (!stopped()) {
    const offset = QUIET_BYTES + random.below(places) * 4 * KIB;
    const length = Math.min(random.pick([4, 64, 300]) * KIB, DISK_BYTES - offset);
    if (random.chance(4)) await client.trim(offset, length);
    else if (random.chance(3)) await client.zero(offset, length);
    else await client.write(offset, Buffer.alloc(length, 'new'));
  }
}

// An image on a memory file system cannot be cloned, so the server records what is overwritten.
test('data read from the image is the data of the view if it is not reported as overwritten afterwards', async () => {
  const path = join(scratchFolder('tmpfs'), 'disk.img');
  const random = new Random(testSeed());
  const before = Buffer.alloc(DISK_BYTES);
  for (let at = 0; at < DISK_BYTES; at += 4 * KIB) before.fill(random.below(256), at, at + 4 * KIB);
  writeFileSync(path, before);
  const server = await startTidemark(`disk=${path},bitmap=nightly`);
  const wanted = { exports: ['disk'], bitmap: 'nightly' };
  const backup = await new Control(server.control).call<Backup>('POST', '/v1/backups', wanted);
  const { disk, uri } = backup.exports[0]!;
  const image = (await openDiskAt(disk!))!;
  onTestFinished(() => image.close());
  const view = await NbdClient.connect(uri, { contexts: [OVERWRITTEN_CONTEXT] });

  const writer = await NbdClient.connect(server.uri('disk'));
  await writer.write(DISK_BYTES / 2, Buffer.alloc(MIB, 'new'));
  let over = false;
  const changing = change(writer, random, () => over);
  const target = Buffer.alloc(DISK_BYTES);
  let overwrittenBytes = 0;
  for (let offset = 0; offset < DISK_BYTES; offset += PIECE_BYTES) {
    await image.read(target, offset, PIECE_BYTES, offset);
    for await (const window of view.extents(offset, PIECE_BYTES)) {
      for (const extent of extentsOf(window, OVERWRITTEN_CONTEXT)) {
        if (extent.status === 0) continue;
        overwrittenBytes += extent.length;
        (await view.read(extent.offset, extent.length)).copy(target, extent.offset);
      }
    }
  }
  over = true;
  await changing;
  await Promise.all([writer.disconnect(), view.disconnect()]);
  expect(overwrittenBytes).toBeGreaterThanOrEqual(MIB);
  expect(overwrittenBytes).toBeLessThanOrEqual(DISK_BYTES - QUIET_BYTES);
  expect(readFileSync(path).equals(before)).toBe(false);
  expectSame(target, before);
});

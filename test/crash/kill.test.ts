import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { KIB, MIB } from '../../src/base/units.js';
import { NbdClient } from '../../src/client/nbd-client.js';
import { makeImage } from '../support/image.js';
import { Random, testSeed } from '../support/random.js';
import { run } from '../support/run.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { dirtyRanges } from '../support/status-map.js';
import { startTidemarkIn, type Tidemark, tidemarkProgram } from '../support/tidemark.js';

const DISK_BYTES = 64 * MIB;
const GRANULE_BYTES = 64 * KIB;
const GRANULES = DISK_BYTES / GRANULE_BYTES;
const MAX_WRITE_BYTES = 256 * KIB;

const seed = testSeed();
const rounds = Number(process.env.TIDEMARK_ROUNDS ?? 20);

/** Small regions, few of them, that cool at once: much happens to the write-intent log in a short time. */
const busyLog = ['--region-size', '512K', '--max-active-regions', '12', '--cool-after', '0'];

/** Writes until the server is gone, at random or, with `sequential`, one range after the other. */
async function write(server: Tidemark, random: Random, sequential: boolean): Promise<void> {
  let at = random.below(GRANULES) * GRANULE_BYTES;
  try {
    const client = await NbdClient.connect(server.uri('disk'));
    for (;;) {
      const length = 512 * (1 + random.below((sequential ? MAX_WRITE_BYTES : 16 * KIB) / 512));
      if (!sequential || at + length > DISK_BYTES) at = 512 * random.below((DISK_BYTES - length) / 512);
      const data = Buffer.alloc(length);
      data.fill(random.below(256), 0, length / 2).fill(random.below(256), length / 2);
      await client.write(at, data);
      at += length;
    }
  } catch {
    // The server was killed, as planned, perhaps before this client was connected.
  }
}

function changedGranules(base: Buffer, now: Buffer): number[] {
  const changed = [];
  for (let at = 0; at < DISK_BYTES; at += GRANULE_BYTES) {
    if (base.compare(now, at, at + GRANULE_BYTES, at, at + GRANULE_BYTES) !== 0) changed.push(at / GRANULE_BYTES);
  }
  return changed;
}

async function dirtyGranules(server: Tidemark): Promise<Set<number>> {
  const granules = new Set<number>();
  for (const { offset, length } of await dirtyRanges(server.uri('disk'), 'nightly')) {
    for (let at = offset; at < offset + length; at += GRANULE_BYTES) granules.add(at / GRANULE_BYTES);
  }
  return granules;
}

test(`after kill -9 at any moment, everything that differs from the base is dirty (${rounds} rounds)`, {
  timeout: 30_000 + rounds * 10_000,
}, async () => {
  const random = new Random(seed);
  const folder = scratchFolder();
  const image = makeImage(DISK_BYTES);
  let base = readFileSync(image);
  let cleanAndSame = 0;
  for (let round = 0; round < rounds; round++) {
    const threads = ['--threads', random.pick(['1', '4'])];
    const server = await startTidemarkIn(folder, [`disk=${image},bitmap=nightly`], [...busyLog, ...threads]);
    const dirty = await dirtyGranules(server);
    const missed = changedGranules(base, readFileSync(image)).filter((granule) => !dirty.has(granule));
    expect(missed, `seed ${seed}, round ${round}: granules that changed and are clean`).toEqual([]);
    cleanAndSame += GRANULES - dirty.size;

    if (random.chance(2)) {
      await run(process.execPath, tidemarkProgram, 'bitmap', 'clear', 'disk', 'nightly', '--control', server.control);
      base = readFileSync(image);
    }
    const writers = [write(server, random, false), write(server, random, false), write(server, random, true)];
    await delay(random.below(400));
    await server.stop('SIGKILL');
    await Promise.all(writers);
  }
  // Otherwise a server that reports everything as dirty would pass.
  expect(cleanAndSame).toBeGreaterThan(0);
  console.log(`${((100 * cleanAndSame) / (GRANULES * rounds)).toFixed(0)} % of the granules were clean`);
});

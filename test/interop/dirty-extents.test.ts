import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { GIB, KIB } from '../../src/base/units.js';
import { runFio } from '../support/fio.js';
import { makeImage, type Range } from '../support/image.js';
import { testSeed } from '../support/random.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { dirtyRanges } from '../support/status-map.js';
import { startTidemark } from '../support/tidemark.js';

const granularities = { nightly: 64 * KIB, fine: 4 * KIB, coarse: 1024 * KIB };

/** The writes in a log of fio. */
function writesIn(log: string): Range[] {
  const writes = readFileSync(log, 'utf8').matchAll(/ write (\d+) (\d+)$/gm);
  return [...writes].map(([, offset, length]) => ({ offset: Number(offset), length: Number(length) }));
}

/** The granules that the writes touch, as ranges. */
function granulesOf(writes: readonly Range[], granularityBytes: number): Range[] {
  const granules = new Set<number>();
  for (const { offset, length } of writes) {
    const last = Math.floor((offset + length - 1) / granularityBytes);
    for (let granule = Math.floor(offset / granularityBytes); granule <= last; granule++) granules.add(granule);
  }
  const ranges: Range[] = [];
  for (const granule of [...granules].sort((a, b) => a - b)) {
    const offset = granule * granularityBytes;
    const last = ranges.at(-1);
    if (last && last.offset + last.length === offset) {
      ranges[ranges.length - 1] = { offset: last.offset, length: last.length + granularityBytes };
    } else ranges.push({ offset, length: granularityBytes });
  }
  return ranges;
}

test('after a random workload, exactly the written granules are dirty', async () => {
  const bitmaps = Object.entries(granularities).map(([name, bytes]) => `bitmap=${name}:${bytes}`);
  const server = await startTidemark(`disk=${makeImage(GIB)},${bitmaps.join(',')}`);
  const seed = testSeed();
  const log = join(scratchFolder(), 'writes.log');

  const workload = ['--rw=randrw', '--bsrange=512-128k', '--blockalign=512', '--iodepth=32', '--io_size=64M'];
  await runFio(server.uri('disk'), ...workload, `--size=${GIB}`, `--randseed=${seed}`, `--write_iolog=${log}`);

  const writes = writesIn(log);
  expect(writes.length).toBeGreaterThan(100);
  for (const [name, bytes] of Object.entries(granularities)) {
    expect(await dirtyRanges(server.uri('disk'), name), name).toEqual(granulesOf(writes, bytes));
  }
});

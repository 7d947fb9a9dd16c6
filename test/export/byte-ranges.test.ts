import { expect, onTestFinished, test } from 'vitest';
import { OK } from '../../src/base/errno.js';
import { ExtentList } from '../../src/base/extents.js';
import { silentLog } from '../../src/base/log.js';
import { KIB, MIB } from '../../src/base/units.js';
import type { Export } from '../../src/export/export.js';
import { openExport } from '../../src/server/open-export.js';
import { contentOf, expectSame, put } from '../support/device-content.js';
import { insideOf } from '../support/inside.js';
import { MemoryStore } from '../support/memory-store.js';
import { Random, testSeed } from '../support/random.js';
import { native, writeImage } from '../support/scratch-device.js';
import { places } from '../support/scratch-folder.js';
import { snapshotOf } from '../support/snapshots.js';

const SIZE_BYTES = MIB;
const FINE = 512;
const ROUNDS = 150;
const WRITERS = 6;

/** An export with min-block 1 on an image of random bytes, with a fine and a coarse bitmap and an initial view. */
async function served(place: keyof typeof places, random: Random) {
  const before = Buffer.from(Uint8Array.from({ length: SIZE_BYTES }, () => random.below(256)));
  const persistence = {
    transient: false,
    onBitmapError: 'refuse',
    regionBytes: 64 * KIB,
    maxActiveRegions: 4,
  } as const;
  const disk: Export = await openExport(
    {
      ...{ name: 'disk', path: writeImage({ place, content: before }), minBlockBytes: 1 },
      bitmaps: [
        { name: 'fine', granularityBytes: FINE },
        { name: 'coarse', granularityBytes: 64 * KIB },
      ],
    },
    {
      store: new MemoryStore(),
      persistence: { ...persistence, coolAfterSeconds: 5 },
      posix: native,
      log: silentLog,
    },
  );
  onTestFinished(() => disk.close());
  const { snapshot, view } = snapshotOf(insideOf(disk).disk, { pieceBytes: 4 * KIB });
  onTestFinished(insideOf(disk).copyBeforeWrite.attach(snapshot));
  return { disk, before, view };
}

/** A random range, mostly short and unaligned. */
function anyRange(random: Random): { offset: number; length: number } {
  const offset = random.below(SIZE_BYTES - 1);
  const most = random.pick([3, 700, 5000, 100_000]);
  return { offset, length: Math.min(1 + random.below(most), SIZE_BYTES - offset) };
}

/** Consecutive pieces of a few bytes, so that several lie in one sector. */
function neighbours(random: Random): { offset: number; length: number }[] {
  let offset = random.below(SIZE_BYTES - WRITERS * 700);
  return Array.from({ length: WRITERS }, () => {
    const length = 1 + random.below(random.pick([5, 700]));
    offset += length;
    return { offset: offset - length, length };
  });
}

test.each(Object.keys(places) as (keyof typeof places)[])(
  'any bytes can be changed on their own (%s)',
  async (place) => {
    const random = new Random(testSeed());
    const { disk, before, view } = await served(place, random);
    const model = Buffer.from(before);
    const touched = new Set<number>();
    const note = (offset: number, length: number, content: Buffer | number) => {
      if (typeof content === 'number') model.fill(content, offset, offset + length);
      else content.copy(model, offset);
      for (let granule = Math.floor(offset / FINE); granule * FINE < offset + length; granule++) touched.add(granule);
    };
    for (let round = 0; round < ROUNDS; round++) {
      const { offset, length } = anyRange(random);
      const kind = random.below(4);
      if (kind === 0) {
        const options = { keepAllocated: random.chance(2), fastOnly: false };
        expect(await disk.device.zero(offset, length, options)).toBe(OK);
        note(offset, length, 0);
      } else if (kind === 1) {
        expect(await disk.device.trim(offset, length)).toBe(OK);
        const now = await contentOf(disk.device, offset, length);
        expect(now.findIndex((byte, i) => byte !== 0 && byte !== model[offset + i])).toBe(-1);
        note(offset, length, now);
      } else {
        const writes = kind === 2 ? neighbours(random) : [{ offset, length }];
        await Promise.all(
          writes.map((one) => {
            const source = Buffer.alloc(one.length, random.below(256));
            note(one.offset, one.length, source);
            return put(disk.device, one.offset, source);
          }),
        );
      }
      const looked = anyRange(random);
      const end = looked.offset + looked.length;
      expectSame(await contentOf(disk.device, looked.offset, looked.length), model.subarray(looked.offset, end));
      expectSame(await contentOf(view, looked.offset, looked.length), before.subarray(looked.offset, end));
    }
    expectSame(await contentOf(disk.device), model);
    expectSame(await contentOf(view), before);
    expect(await dirtyGranules(disk)).toEqual([...touched].sort((a, b) => a - b));
  },
);

async function dirtyGranules(disk: Export): Promise<number[]> {
  const list = new ExtentList(SIZE_BYTES / FINE);
  expect(await disk.context('qemu:dirty-bitmap:fine')!.status(0, SIZE_BYTES, list)).toBe(OK);
  let granule = 0;
  return list.lengths.flatMap((length, i) => {
    const from = granule;
    granule += length / FINE;
    return list.statuses[i] === 1 ? Array.from({ length: granule - from }, (_, at) => from + at) : [];
  });
}

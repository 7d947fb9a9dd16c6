import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { silentLog } from '../../../src/base/log.js';
import { KIB, MIB } from '../../../src/base/units.js';
import { BitmapSet } from '../../../src/bitmap/bitmap-set.js';
import type { Change } from '../../../src/bitmap/store/key-value-store.js';
import { PersistentBitmaps } from '../../../src/bitmap/store/persistent-bitmaps.js';
import { MemoryStore } from '../../support/memory-store.js';

const REGION_BYTES = MIB;
const REGIONS = 256;

/** A store whose commits take as long as a writer needs for `turns` regions. */
class SlowStore extends MemoryStore {
  turns = 0;

  override async commit(changes: readonly Change[]): Promise<void> {
    for (let i = 0; i < this.turns; i++) await nextTurn();
    await super.commit(changes);
  }
}

/** Writes to one region after the other, one a turn. Returns how many writes had to wait. */
async function writeOnAndOn(commitTurns: number): Promise<number> {
  const store = new SlowStore();
  const sizeBytes = REGIONS * REGION_BYTES;
  const bitmaps = new BitmapSet(sizeBytes);
  const { intents } = await PersistentBitmaps.open({
    exportName: 'disk',
    bitmaps,
    store,
    identify: async () => ({ kind: 'file', id: '1:1', sizeBytes, modifiedAt: '1', changedAt: '1' }),
    limits: { regionBytes: REGION_BYTES, maxActiveRegions: REGIONS, coolAfterTurns: 5 },
    onBitmapError: 'refuse',
    log: silentLog,
  });
  bitmaps.add({ name: 'nightly', persistent: true });
  store.turns = commitTurns;
  let waits = 0;
  for (let region = 0; region < REGIONS; region++) {
    if (!intents.recordNow(region * REGION_BYTES, 4 * KIB)) {
      waits++;
      await intents.record(region * REGION_BYTES, 4 * KIB);
    }
    await nextTurn();
  }
  return waits;
}

test('who writes on and on waits at the start only: marks are set ahead of the writing', async () => {
  expect(await writeOnAndOn(2)).toBeLessThanOrEqual(4);
});

test('where commits are slow marks are set further ahead', async () => {
  // With marks four regions ahead, each fourth region would wait.
  expect(await writeOnAndOn(16)).toBeLessThanOrEqual(8);
});

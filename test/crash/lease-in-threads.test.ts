import { beforeEach, expect, test, vi } from 'vitest';
import { OK, WOULD_BLOCK } from '../../src/base/errno.js';
import { silentLog } from '../../src/base/log.js';
import { BitmapSet } from '../../src/bitmap/bitmap-set.js';
import { PersistentBitmaps } from '../../src/bitmap/store/persistent-bitmaps.js';
import { SealedStore } from '../../src/bitmap/store/sealed-store.js';
import { readExport } from '../../src/bitmap/store/stored-exports.js';
import { changeAtOneInstant } from '../../src/export/cut.js';
import { Export } from '../../src/export/export.js';
import type { DiskIdentity } from '../../src/storage/image/disk-identity.js';
import { PermittedWrites } from '../../src/storage/permits/permitted-writes.js';
import { SECTOR, someTurns, UnreliableDisk, UnreliableStore } from '../support/power-loss.js';
import { Random, testSeed } from '../support/random.js';

const SECTORS = 128;
const DISK = SECTORS * SECTOR;
const THREADS = 2;
const STEPS = 150;
const SEEDS = Number(process.env.TIDEMARK_ROUNDS ?? 100);

/** A disk whose time of modification is that of its last write. */
class TimedDisk extends UnreliableDisk {
  modifiedAt = Date.now() - 1000;
  onWrite: () => void = () => {};

  override writeNow(...call: Parameters<UnreliableDisk['writeNow']>) {
    const errno = super.writeNow(...call);
    if (errno === OK && call[2] > 0) this.written();
    return errno;
  }

  override async write(...call: Parameters<UnreliableDisk['write']>) {
    const errno = await super.write(...call);
    if (call[2] > 0) this.written();
    return errno;
  }

  identity(): DiskIdentity {
    const time = `${this.modifiedAt}000000`;
    return { kind: 'file', id: '1:1', sizeBytes: DISK, localTimes: true, modifiedAt: time, changedAt: time };
  }

  private written(): void {
    this.modifiedAt = Date.now();
    this.onWrite();
  }
}

/** Two threads, the owner, the clock and cuts at the same time. Returns what went wrong. */
async function live(seed: number, failOneIn: number): Promise<{ wrong: string | undefined; permitted: number }> {
  const random = new Random(seed);
  const disk = new TimedDisk(DISK, random);
  const store = new UnreliableStore(random);
  const sealed = await SealedStore.over(store);
  const bitmaps = new BitmapSet(DISK);
  bitmaps.add({ name: 'a', granularityBytes: random.pick([1024, 4096]), persistent: true });
  const persistence = await PersistentBitmaps.open({
    exportName: 'disk',
    bitmaps,
    store: sealed,
    readOnly: false,
    identify: async () => {
      await someTurns(random, 10);
      const identity = disk.identity();
      await someTurns(random, 10);
      return identity;
    },
    limits: { regionBytes: 8192, maxActiveRegions: 3, coolAfterTicks: 0 },
    onBitmapError: 'refuse',
    log: silentLog,
  });
  const served = new Export({ name: 'disk', description: '', path: 'm', readOnly: false, disk, bitmaps, persistence });
  let wrong: string | undefined;
  let permitted = 0;
  let left = STEPS;
  disk.onWrite = () => {
    if (readExport(sealed, 'disk')!.lastSight?.writesUntil === undefined)
      wrong ??= 'a write while the store says at rest';
  };
  store.failOneIn = failOneIn;

  const randomWrite = () => {
    const sector = random.below(SECTORS);
    const length = Math.min(random.below(7), SECTORS - sector) * SECTOR;
    return { offset: sector * SECTOR, data: Buffer.alloc(length, 1 + random.below(200)) };
  };
  const write = async ({ offset, data } = randomWrite()) => {
    const errno = served.device.writeNow(data, 0, data.length, offset);
    if (errno === WOULD_BLOCK) await served.device.write(data, 0, data.length, offset);
    else await Promise.resolve();
  };
  const thread = async (slot: number) => {
    while (left-- > 0 && !wrong) {
      const share = served.share(THREADS)!;
      const permits = new PermittedWrites(share.disk.permits, slot);
      for (let count = random.below(20); count > 0; count--) {
        const { offset, data } = randomWrite();
        const mayWrite = permits.begin(offset, data.length);
        const until = readExport(sealed, 'disk')!.lastSight?.writesUntil;
        if (mayWrite && data.length > 0 && !(until! >= Date.now()))
          wrong ??= `a permit until ${until} at ${Date.now()}`;
        await someTurns(random, random.pick([8, 200]));
        const errno = mayWrite ? disk.writeNow(data, 0, data.length, offset) : WOULD_BLOCK;
        await someTurns(random, 8);
        if (errno === OK) permitted++;
        permits.end(mayWrite);
        if (errno === WOULD_BLOCK) await write({ offset, data });
        await someTurns(random, random.pick([2, 200]));
      }
      share.release();
    }
  };
  const owner = async () => {
    while (left-- > 0 && !wrong) {
      const die = random.below(12);
      if (die < 2) vi.setSystemTime(Date.now() + random.pick([1, 50, 150, 1000, 3000]));
      else if (die < 5) await served.tick();
      else if (die < 6) await served.noticeOutsideChanges();
      else if (die < 7)
        await changeAtOneInstant([served], { apply: () => undefined, flush: 'nothing' }).catch(() => {});
      else if (die < 9) await someTurns(random, 300);
      else await write();
      wrong ??= bitmaps.get('a').inconsistent;
    }
  };
  await Promise.all([thread(0), thread(1), owner(), owner()]);
  return { wrong, permitted };
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance', 'setTimeout', 'clearTimeout', 'Date'] });
  return () => void vi.useRealTimers();
});

test.each([0, 8])(
  'threads write under a lease alone, and no write of theirs looks like one of another program (%d)',
  { timeout: 600_000 },
  async (failOneIn) => {
    let permitted = 0;
    const first = testSeed(1);
    for (let seed = first; seed < first + SEEDS; seed++) {
      const life = await live(seed, failOneIn);
      expect(life.wrong, `seed ${seed}`).toBeUndefined();
      permitted += life.permitted;
    }
    expect(permitted).toBeGreaterThan(SEEDS);
  },
);

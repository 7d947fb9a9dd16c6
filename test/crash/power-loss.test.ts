import { expect, test } from 'vitest';
import type { CodedError } from '../../src/base/coded-error.js';
import { OK, WOULD_BLOCK } from '../../src/base/errno.js';
import { ExtentList } from '../../src/base/extents.js';
import { silentLog } from '../../src/base/log.js';
import { BitmapSet } from '../../src/bitmap/bitmap-set.js';
import type { ChangeRecorder } from '../../src/bitmap/change-recorder.js';
import { changeDurably } from '../../src/bitmap/store/change-durably.js';
import { PersistentBitmaps } from '../../src/bitmap/store/persistent-bitmaps.js';
import { SealedStore } from '../../src/bitmap/store/sealed-store.js';
import { TrackingDevice } from '../../src/bitmap/tracking-device.js';
import { undoable } from '../../src/bitmap/undo.js';
import type { FlushScope } from '../../src/export/cut.js';
import { WriteGate } from '../../src/storage/device/write-gate.js';
import { UnreliableDisk, UnreliableStore } from '../support/power-loss.js';
import { Random, testSeed } from '../support/random.js';

const SECTOR = 512;
const SECTORS = 128;
const DISK = SECTORS * SECTOR;
const GRANULARITY = 1024;
const CYCLES = 4;
const STEPS = 60;
const WRITERS = 4;

/** A deliberate error that the checker must notice. */
interface Wrong {
  /** The data goes to the disk without waiting for the mark. */
  readonly dataBeforeMark?: boolean;
  /** A bitmap is cleared before earlier data is durable. */
  readonly clearBeforeFlush?: boolean;
}

/** What a bitmap must report, expressed as contents of the disk. */
interface Epoch {
  /** Everything counts as changed that differs from this. */
  readonly base: Uint32Array;
  /** The content when the bitmap was frozen, if it is: the base after it has abdicated. */
  readonly frozen?: Uint32Array;
  /** The content when the bitmap was disabled, if it is: what was written later does not count. */
  readonly end?: Uint32Array;
}

/** The valid state, and the possible new state while a change is in progress or in doubt. */
interface Truth {
  now: Epoch;
  next: Epoch | undefined;
}

/** A change of the bitmap, and its effect on an epoch; undefined if it would be refused. */
interface Step {
  readonly flush: FlushScope;
  readonly plan: (
    bitmaps: BitmapSet,
    epoch: Epoch,
    content: Uint32Array,
  ) => { change: () => () => void; next: Epoch } | undefined;
}

const clear: Step = {
  flush: 'everything',
  plan: (bitmaps, { frozen, end }, content) =>
    frozen
      ? undefined
      : { change: () => bitmaps.get('a').clear(), next: { base: content, ...(end && { end: content }) } },
};
const disable: Step = {
  flush: 'everything',
  plan: (bitmaps, { base, frozen, end }, content) =>
    frozen || end ? undefined : { change: () => bitmaps.get('a').disable(), next: { base, end: content } },
};
const enableAnew: Step = {
  flush: 'everything',
  plan: (bitmaps, { frozen, end }, content) => {
    if (frozen || !end) return undefined;
    const change = () =>
      undoable((undos) => {
        undos.push(bitmaps.get('a').enable());
        undos.push(bitmaps.get('a').clear());
      });
    return { change, next: { base: content } };
  },
};
/** The three changes of a backup, with the same flushes. */
const freeze: Step = {
  flush: 'nothing',
  plan: (bitmaps, { base, frozen, end }, content) =>
    frozen || end
      ? undefined
      : { change: () => bitmaps.get('a').createSuccessor().undo, next: { base, frozen: content } },
};
const abdicate: Step = {
  flush: 'written-earlier',
  plan: (bitmaps, { frozen }) =>
    frozen ? { change: () => bitmaps.get('a').freeze!.abdicate('backup'), next: { base: frozen } } : undefined,
};
const reclaim: Step = {
  flush: 'nothing',
  plan: (bitmaps, { base, frozen }) =>
    frozen ? { change: () => bitmaps.get('a').freeze!.reclaim(), next: { base } } : undefined,
};
const steps = [clear, disable, enableAnew, freeze, abdicate, reclaim];

/** One run of the program, from opening to the power cut. */
class Life {
  readonly bitmaps = new BitmapSet(DISK);
  private persistence!: PersistentBitmaps;
  private top!: WriteGate;
  private stopped = false;
  private cutting = false;

  constructor(
    private readonly random: Random,
    private readonly disk: UnreliableDisk,
    private readonly store: UnreliableStore,
    private readonly truth: Truth,
    private readonly wrong: Wrong,
  ) {}

  async open(): Promise<void> {
    const { bitmaps, disk } = this;
    const store = await SealedStore.over(this.store);
    this.persistence = await PersistentBitmaps.open({
      exportName: 'disk',
      bitmaps,
      store,
      readOnly: false,
      identify: async () => ({ kind: 'file', id: '1:1', sizeBytes: DISK }),
      limits: { regionBytes: 8192, maxActiveRegions: 3, coolAfterTurns: 0 },
      onBitmapError: 'refuse',
      log: silentLog,
    });
    this.top = new WriteGate(new TrackingDevice(disk, this.recorder()));
  }

  private recorder(): ChangeRecorder {
    const { intents } = this.persistence;
    if (!this.wrong.dataBeforeMark) return intents;
    return {
      recordNow: (offset, length) => {
        this.bitmaps.markDirty(offset, length);
        void intents.record(offset, length);
        return true;
      },
      record: (offset, length) => intents.record(offset, length),
    };
  }

  async addBitmap(): Promise<void> {
    const bitmap = { name: 'a', granularityBytes: GRANULARITY, persistent: true };
    await this.cut({
      flush: 'everything',
      plan: (bitmaps, _epoch, base) => ({ change: () => bitmaps.add(bitmap), next: { base } }),
    });
  }

  /** Lets all writers work for `steps` steps together, then cuts the power in the middle of their work. */
  async work(steps: number): Promise<{ sectors: Uint32Array; store: Map<string, Buffer> }> {
    let left = steps;
    await new Promise<void>((powerLost) => {
      const worker = async () => {
        while (!this.stopped) {
          if (--left < 0) {
            this.stopped = true;
            powerLost();
            return;
          }
          await this.step();
        }
      };
      for (let i = 0; i < WRITERS; i++) void worker();
    });
    return { sectors: this.disk.cutPower(), store: this.store.cutPower() };
  }

  private async step(): Promise<void> {
    const { random } = this;
    const die = random.below(24);
    if (die < 2) await this.top.flush();
    else if (die < 4) await this.persistence.intents.cool(0);
    else if (die < 6 && !this.cutting) await this.cut(random.pick(steps));
    else await this.write();
  }

  private async write(): Promise<void> {
    const { random } = this;
    const sector = random.below(SECTORS);
    const length = Math.min(1 + random.below(6), SECTORS - sector) * SECTOR;
    const data = Buffer.alloc(length);
    for (let at = 0; at < length; at += SECTOR) data.writeUInt32LE(1 + random.below(2 ** 31), at);
    let errno = this.top.writeNow(data, 0, length, sector * SECTOR);
    if (errno === WOULD_BLOCK) errno = await this.top.write(data, 0, length, sector * SECTOR);
    else await Promise.resolve();
    if (errno === OK && !this.cutting && !this.stopped) this.truth.next = undefined;
  }

  private async cut({ flush, plan }: Step): Promise<void> {
    this.cutting = true;
    const scope = this.wrong.clearBeforeFlush ? 'nothing' : flush;
    if (scope === 'written-earlier') await this.top.flush();
    await this.top.quiesce();
    if (scope === 'everything') await this.top.flush();
    if (this.stopped) return;
    const { truth, persistence } = this;
    const planned = plan(this.bitmaps, truth.now, this.disk.sectors.slice());
    if (planned) {
      truth.next = planned.next;
      const outcome = await changeDurably([persistence.intents], persistence.store, planned.change).then(
        () => 'done',
        (error) => (error as CodedError).code,
      );
      if (this.stopped) return;
      if (outcome === 'done') truth.now = planned.next;
      // The change is in doubt until the next write, which needs a working store.
      if (outcome !== 'STORE_IN_DOUBT') truth.next = undefined;
    }
    this.cutting = false;
    this.top.resume();
  }
}

/** Sectors that changed in the epoch and lie in granules that are clean. */
function missed(bitmaps: BitmapSet, { base, end }: Epoch, found: Uint32Array): number[] {
  const list = new ExtentList(SECTORS);
  bitmaps.get('a').extents(0, DISK, list);
  const clean: number[] = [];
  let at = 0;
  list.lengths.forEach((length, i) => {
    for (const until = at + length; at < until; at += SECTOR) if (list.statuses[i] === 0) clean.push(at / SECTOR);
  });
  const content = end ?? found;
  return clean.filter((sector) => base[sector] !== content[sector]);
}

function fits(bitmaps: BitmapSet, epoch: Epoch, found: Uint32Array): boolean {
  return bitmaps.get('a').recording === (epoch.end === undefined) && missed(bitmaps, epoch, found).length === 0;
}

/** Several runs on one disk and store. Returns what is missing after the power cuts. */
async function survive(seed: number, wrong: Wrong = {}, failOneIn = 0): Promise<string | undefined> {
  const random = new Random(seed);
  let sectors: Uint32Array = new Uint32Array(SECTORS);
  let content = new Map<string, Buffer>();
  const truth: Truth = { now: { base: sectors.slice() }, next: undefined };
  for (let cycle = 0; cycle < CYCLES; cycle++) {
    const store = new UnreliableStore(random, content);
    const life = new Life(random, new UnreliableDisk(DISK, random, sectors), store, truth, wrong);
    await life.open();
    // The checksums of the store are right after every power cut.
    expect(life.bitmaps.list().flatMap(({ inconsistent }) => inconsistent ?? [])).toEqual([]);
    if (cycle === 0) await life.addBitmap();
    else {
      const candidates = truth.next ? [truth.now, truth.next] : [truth.now];
      const fitting = candidates.find((epoch) => fits(life.bitmaps, epoch, sectors));
      if (!fitting) {
        return `seed ${seed}, cycle ${cycle}: sectors ${missed(life.bitmaps, truth.now, sectors)} changed and are clean`;
      }
      // Frozen bitmaps are reclaimed.
      const { base, end } = fitting;
      truth.now = { base, ...(end && { end }) };
      truth.next = undefined;
    }
    store.failOneIn = failOneIn;
    ({ sectors, store: content } = await life.work(random.below(STEPS) + 1));
  }
  return undefined;
}

const FIRST_SEED = testSeed(1);
const SEEDS = Number(process.env.TIDEMARK_ROUNDS ?? 3000);

async function firstMiss(wrong: Wrong = {}, failOneIn = 0): Promise<string | undefined> {
  for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) {
    const miss = await survive(seed, wrong, failOneIn);
    if (miss) return miss;
  }
  return undefined;
}

test('no power cut hides a change', { timeout: 600_000 }, async () => {
  expect(await firstMiss()).toBeUndefined();
});

test('no power cut hides a change while commits fail, before or after they took effect', {
  timeout: 600_000,
}, async () => {
  expect(await firstMiss({}, 6)).toBeUndefined();
});

test('the checker notices a write that precedes its mark', { timeout: 600_000 }, async () => {
  expect(await firstMiss({ dataBeforeMark: true })).toMatch('changed and are clean');
});

test('the checker notices a bitmap that is cleared before the data under it is durable', {
  timeout: 600_000,
}, async () => {
  expect(await firstMiss({ clearBeforeFlush: true })).toMatch('changed and are clean');
});

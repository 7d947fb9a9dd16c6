import { beforeEach, expect, test, vi } from 'vitest';
import type * as saving from '../../src/bitmap/store/saving.js';
import { UnreliableStore } from '../support/power-loss.js';
import { Random, testSeed } from '../support/random.js';
import { fits, missed, type Truth } from './power-loss/epoch.js';
import { Life, SECTORS } from './power-loss/life.js';
import type { Wrong } from './power-loss/tested-export.js';

/** Writes that threads have made without asking. */
let permittedWrites = 0;

const CYCLES = 4;
const STEPS = 60;

/** How many pages the commits of a save have. With one or two, most saves here take several commits. */
const pages = vi.hoisted(() => ({ together: 1 }));
vi.mock('../../src/bitmap/store/saving.js', async (load) => {
  const real = await load<typeof saving>();
  return { ...real, partsOf: (save: saving.Saving) => real.partsOf(save, pages.together) };
});

/** Several lives on one disk and store; after each power cut nothing may be missing. Returns what is. */
async function survive(seed: number, wrong: Wrong = {}, failOneIn = 0): Promise<string | undefined> {
  const random = new Random(seed);
  pages.together = random.pick([1, 2, 1000]);
  let sectors: Uint32Array = new Uint32Array(SECTORS);
  let content = new Map<string, Buffer>();
  const truth: Truth = { now: { base: sectors.slice() }, next: undefined };
  for (let cycle = 0; cycle < CYCLES; cycle++) {
    const store = new UnreliableStore(random, content);
    const life = new Life(random, sectors, store, truth, wrong);
    await life.open();
    // The sums of the store are right after every power cut.
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
    permittedWrites += life.permittedWrites;
    if (life.wrongView) return `seed ${seed}, cycle ${cycle}: ${life.wrongView}`;
  }
  return undefined;
}

const FIRST_SEED = testSeed(1);
const SEEDS = Number(process.env.TIDEMARK_ROUNDS ?? 1000);
/** The checker may need a few hundred to come across a deliberate error. */
const MOST_SEEDS = 5000;

async function firstMiss(seeds: number, wrong: Wrong = {}, failOneIn = 0): Promise<string | undefined> {
  for (let seed = FIRST_SEED; seed < FIRST_SEED + seeds; seed++) {
    const miss = await survive(seed, wrong, failOneIn);
    if (miss) return miss;
  }
  return undefined;
}

beforeEach(() => {
  // The clock stands still, so that the seed alone decides, and no cut runs out of patience.
  vi.useFakeTimers({ toFake: ['performance', 'setTimeout', 'clearTimeout'] });
  return () => void vi.useRealTimers();
});

test('no power cut hides a change', { timeout: 600_000 }, async () => {
  expect(await firstMiss(SEEDS)).toBeUndefined();
  // Otherwise threads that always ask would pass.
  expect(permittedWrites).toBeGreaterThan(0);
});

test('no power cut hides a change while commits fail, before or after they took effect', {
  timeout: 600_000,
}, async () => {
  expect(await firstMiss(SEEDS, {}, 6)).toBeUndefined();
});

test.each<[string, Wrong]>([
  ['data that is written before its mark', { dataBeforeMark: true }],
  ['a mark of pieces that is taken for one of the whole region', { piecesAsWhole: true }],
  ['a piece that counts as named when it is asked for', { namedWhenAsked: true }],
  ['a region that cools without its bits', { coolsWithoutBits: true }],
  ['a transaction that does not flush', { leavesOut: ({ cut }) => cut === 'transaction' }],
  [
    'a transaction that flushes only before writes are held back',
    { leavesOut: ({ cut, held }) => cut === 'transaction' && held },
  ],
  ['a commit that does not flush', { leavesOut: ({ cut }) => cut === 'commit' }],
])('the checker notices %s', { timeout: 600_000 }, async (_what, wrong) => {
  expect(await firstMiss(MOST_SEEDS, wrong)).toMatch('changed and are clean');
});

test.each<[string, Wrong]>([
  ['leaves threads their permits', { keepsPermits: true }],
  ['does not wait for threads that write', { awaitsNoThreads: true }],
])('the checker notices a cut that %s', { timeout: 600_000 }, async (_what, wrong) => {
  expect(await firstMiss(MOST_SEEDS, wrong)).toMatch(/changed and are clean|of the view differ/);
});

test('the checker notices a view for which nothing is copied', { timeout: 600_000 }, async () => {
  expect(await firstMiss(MOST_SEEDS, { noCopies: true })).toMatch('of the view differ');
});

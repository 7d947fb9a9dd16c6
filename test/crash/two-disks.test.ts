import { beforeEach, expect, test, vi } from 'vitest';
import type * as saving from '../../src/bitmap/store/saving.js';
import { UnreliableStore } from '../support/power-loss.js';
import { Random, testSeed } from '../support/random.js';
import { DISKS, Life, lostFrom } from './two-disks/life.js';

const CYCLES = 4;
const STEPS = 200;

/** How many pages the commits of a save have. With few, a save takes several commits. */
const pages = vi.hoisted(() => ({ together: 1 }));
vi.mock('../../src/bitmap/store/saving.js', async (load) => {
  const real = await load<typeof saving>();
  return { ...real, partsOf: (save: saving.Saving) => real.partsOf(save, pages.together) };
});

/** Several lives on one store; none may begin without what the one before it remembered. Returns what is missing. */
async function survive(seed: number, failOneIn: number): Promise<string | undefined> {
  const random = new Random(seed);
  pages.together = random.pick([1, 2, 1000]);
  let content = new Map<string, Buffer>();
  let before: Life | undefined;
  for (let cycle = 0; cycle < CYCLES; cycle++) {
    const store = new UnreliableStore(random, content);
    const life = new Life(random, store);
    await life.open();
    for (const name of before ? DISKS : []) {
      const lost = lostFrom(life.sets.get(name)!, before!.memories.get(name)!);
      if (lost !== undefined) return `seed ${seed}, cycle ${cycle}, after a power cut: on ${name}, ${lost}`;
    }
    if (cycle === 0) await life.addBitmaps();
    store.failOneIn = failOneIn;
    content = await life.work(random.below(STEPS) + 1);
    if (life.wrong !== undefined) return `seed ${seed}, cycle ${cycle}, after a close: ${life.wrong}`;
    before = life;
  }
  return undefined;
}

const FIRST_SEED = testSeed(1);
const SEEDS = Number(process.env.TIDEMARK_ROUNDS ?? 300);

beforeEach(() => {
  // No cut runs out of patience unless the seed says so.
  vi.useFakeTimers({ toFake: ['performance', 'setTimeout', 'clearTimeout'] });
  return () => void vi.useRealTimers();
});

test.each([
  ['all commits succeed', 0],
  ['some commits fail', 15],
  ['many commits fail', 6],
])(
  'bitmaps of two disks survive power cuts and closes while everything changes them and %s',
  {
    timeout: 600_000,
  },
  async (_what, failOneIn) => {
    for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++)
      expect(await survive(seed, failOneIn)).toBeUndefined();
  },
);

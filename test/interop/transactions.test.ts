import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { KIB, MIB } from '../../src/base/units.js';
import { type Control, controlOf } from '../support/control.js';
import { runFio } from '../support/fio.js';
import { makeImage, type Range } from '../support/image.js';
import { testSeed } from '../support/random.js';
import { startTidemark } from '../support/tidemark.js';

/**
 * How a write shows that was recorded twice or not at all: fio writes each of its blocks once in a run, and a granule
 * of the fine bitmaps is one block. An interval is the time from one switch to the next. Each block that changed in the
 * image must be recorded in exactly one interval of the run. A second pair of bitmaps, with larger granules that
 * several writes share, is switched together with the first. Each of its intervals must equal that of the fine pair,
 * rounded to granules.
 */
const TRANSACTIONS = 200;
const CONNECTIONS = 4;
const PART_BYTES = 16 * MIB;
const DISK_BYTES = CONNECTIONS * PART_BYTES;
const BLOCK_BYTES = 512;
const COARSE_BYTES = 4 * KIB;
/** Each connection writes half of its part, at random. The other half must stay clean. */
const WRITTEN_BYTES = PART_BYTES / 2;

/** The side that records first, and the other one. */
const sides = ['a', 'b'] as const;
type Side = (typeof sides)[number];
const granularities = { fine: BLOCK_BYTES, coarse: COARSE_BYTES } as const;

/** What one side has recorded between two switches. */
type Interval = Readonly<Record<keyof typeof granularities, Range[]>>;

class Roles {
  private recording: Side = 'a';
  transactions = 0;

  constructor(private readonly control: Control) {}

  async add(): Promise<void> {
    for (const side of sides) {
      for (const [name, granularityBytes] of Object.entries(granularities)) {
        const body = { name: `${name}-${side}`, granularityBytes, disabled: side !== this.recording };
        await this.control.call('POST', '/v1/exports/disk/bitmaps', body);
      }
    }
  }

  /** Resolves to true once the recording side has recorded something, or to false when `over` says so first. */
  async untilRecorded(over: () => boolean): Promise<boolean> {
    for (;;) {
      const last = over();
      if ((await this.control.bitmap('disk', `fine-${this.recording}`)).dirtyBytes > 0) return true;
      if (last) return false;
      await delay(1);
    }
  }

  /** Clears and starts the other side and stops this one, all at one instant. Resolves to what this side recorded. */
  async switch(): Promise<Interval> {
    const [from, to] = this.recording === 'a' ? (['a', 'b'] as const) : (['b', 'a'] as const);
    const actions = Object.keys(granularities).flatMap((name) => [
      { type: 'bitmap-clear' as const, export: 'disk', bitmap: `${name}-${to}` },
      { type: 'bitmap-enable' as const, export: 'disk', bitmap: `${name}-${to}` },
      { type: 'bitmap-disable' as const, export: 'disk', bitmap: `${name}-${from}` },
    ]);
    const { medianMilliseconds, p99Milliseconds } = await this.control.transact(actions);
    expect(p99Milliseconds).toBeGreaterThanOrEqual(medianMilliseconds);
    this.transactions++;
    this.recording = to;
    const [fine, coarse] = await Promise.all([
      this.control.dirtyRanges('disk', `fine-${from}`),
      this.control.dirtyRanges('disk', `coarse-${from}`),
    ]);
    return { fine, coarse };
  }
}

/** The numbers of the granules in the ranges. */
function granulesIn(ranges: readonly Range[], granularityBytes: number): number[] {
  return ranges.flatMap(({ offset, length }) =>
    Array.from({ length: length / granularityBytes }, (_, index) => offset / granularityBytes + index),
  );
}

/** For each block of the disk, whether it has changed. */
function changedBlocks(before: Buffer, after: Buffer): Uint8Array {
  return Uint8Array.from({ length: DISK_BYTES / BLOCK_BYTES }, (_, block) => {
    const [from, end] = [block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES];
    return before.compare(after, from, end, from, end) === 0 ? 0 : 1;
  });
}

/** For each block, the number of intervals in which it was recorded. */
function recordedBlocks(intervals: readonly Interval[]): Uint8Array {
  const counts = new Uint8Array(DISK_BYTES / BLOCK_BYTES);
  for (const { fine } of intervals) {
    for (const block of granulesIn(fine, BLOCK_BYTES)) counts[block] = counts[block]! + 1;
  }
  return counts;
}

function expectSameCounts(actual: Uint8Array, expected: Uint8Array): void {
  const wrong = actual.findIndex((count, block) => count !== expected[block]);
  if (wrong < 0) return;
  expect.fail(`block ${wrong} is in ${actual[wrong]} intervals, and was written ${expected[wrong]} times`);
}

function expectCoarseLikeFine(intervals: readonly Interval[]): void {
  for (const { fine, coarse } of intervals) {
    const blocks = granulesIn(fine, BLOCK_BYTES);
    const expected = new Set(blocks.map((block) => Math.floor((block * BLOCK_BYTES) / COARSE_BYTES)));
    expect(granulesIn(coarse, COARSE_BYTES)).toEqual([...expected]);
  }
}

test('in 200 switches between two bitmaps under four writers, each write is recorded in exactly one', async () => {
  const image = makeImage(DISK_BYTES);
  const server = await startTidemark(`disk=${image}`);
  const roles = new Roles(controlOf(server));
  await roles.add();
  const seed = testSeed();

  /** One run of fio, divided into intervals. The last one ends after fio. */
  const runOnce = async (run: number): Promise<Interval[]> => {
    const parts = [`--numjobs=${CONNECTIONS}`, `--size=${PART_BYTES}`, `--offset_increment=${PART_BYTES}`];
    const workload = ['--rw=randwrite', `--bs=${BLOCK_BYTES}`, '--iodepth=8', `--io_size=${WRITTEN_BYTES}`];
    const content = ['--refill_buffers', `--randseed=${seed + run}`];
    let over = false;
    const writing = runFio(server.uri('disk'), ...workload, ...parts, ...content).finally(() => {
      over = true;
    });
    const intervals: Interval[] = [];
    while (await roles.untilRecorded(() => over)) {
      if (roles.transactions === TRANSACTIONS - 1) await writing;
      intervals.push(await roles.switch());
    }
    const jobs = await writing;
    expect(jobs.map(({ error, write }) => [error, write.io_bytes])).toEqual(
      Array(CONNECTIONS).fill([0, WRITTEN_BYTES]),
    );
    return intervals;
  };

  let before = readFileSync(image);
  for (let run = 0; roles.transactions < TRANSACTIONS; run++) {
    const intervals = await runOnce(run);
    const after = readFileSync(image);
    const written = changedBlocks(before, after);
    before = after;
    expect(written.reduce((sum, changed) => sum + changed, 0)).toBe((CONNECTIONS * WRITTEN_BYTES) / BLOCK_BYTES);
    expectSameCounts(recordedBlocks(intervals), written);
    expectCoarseLikeFine(intervals);
  }
  expect(roles.transactions).toBe(TRANSACTIONS);
});

import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { GIB, KIB, MIB } from '../../src/base/units.js';
import { PermittedWrites } from '../../src/storage/permits/permitted-writes.js';
import { WritePermits } from '../../src/storage/permits/write-permits.js';
import { Random, testSeed } from '../support/random.js';

const PIECE = 4 * KIB;
const SLOTS = 2;

function disk(unitBytes: number, sizeBytes = 64 * MIB) {
  const options = { unitBytes };
  const permits = new WritePermits({ sizeBytes, slots: SLOTS, unitBytes: () => options.unitBytes });
  const [thread, other] = Array.from({ length: SLOTS }, (_, slot) => new PermittedWrites(permits.memory, slot));
  const may = (offset: number, length: number): boolean => {
    const permitted = thread!.begin(offset, length);
    thread!.end(false);
    return permitted;
  };
  return { permits, thread: thread!, other: other!, may, options };
}

describe('a permit', () => {
  test('is given with a write, for the whole unit around it and nothing else', () => {
    const { permits, may } = disk(64 * KIB);
    expect(may(0, PIECE)).toBe(false);
    permits.grantAndOpen(65 * KIB, 512);
    expect(may(64 * KIB, 64 * KIB)).toBe(true);
    expect(may(64 * KIB - 512, 512)).toBe(false);
    expect(may(128 * KIB - 512, 1024)).toBe(false);
  });

  test('covers only the pieces that were written whole if the unit is smaller than a piece', () => {
    const { permits, may } = disk(512);
    permits.grantAndOpen(512, 3 * PIECE);
    expect(may(PIECE, 2 * PIECE)).toBe(true);
    expect(may(512, 512)).toBe(false);
    expect(may(3 * PIECE, 512)).toBe(false);
  });

  test('covers the pieces that a write touches if the unit is a piece', () => {
    const { permits, may } = disk(PIECE);
    permits.grantAndOpen(PIECE + 512, 512);
    expect(may(PIECE, PIECE)).toBe(true);
    expect(may(PIECE, PIECE + 512)).toBe(false);
  });

  test('reaches at most 16 MiB if no bitmap records, and never beyond the disk', () => {
    const { permits, may } = disk(Number.POSITIVE_INFINITY, 20 * MIB);
    permits.grantAndOpen(19 * MIB, 512);
    expect(may(16 * MIB, 4 * MIB)).toBe(true);
    expect(may(0, 512)).toBe(false);
    expect(may(40 * MIB, 512)).toBe(false);
  });

  test('is not given by a write of no bytes, which nobody records', () => {
    const { permits, may } = disk(64 * KIB);
    permits.grantAndOpen(512, 0);
    permits.grantAndOpen(128 * KIB, PIECE);
    expect(may(0, PIECE)).toBe(false);
    permits.close();
    permits.grantAndOpen(512, 0);
    expect(may(128 * KIB, PIECE)).toBe(false);
  });

  test('is found across words and chunks, wherever the range begins and ends', () => {
    const seed = testSeed();
    const random = new Random(seed);
    const sizeBytes = 48 * MIB;
    const pieces = sizeBytes / PIECE;
    const { permits, may } = disk(PIECE, sizeBytes);
    const permitted = new Uint8Array(pieces);
    for (let i = 0; i < 2000; i++) {
      const first = random.below(pieces);
      const count = Math.min(1 + random.below(random.pick([2, 40, 5000])), pieces - first);
      if (random.chance(2)) {
        permits.grantAndOpen(first * PIECE, count * PIECE);
        permitted.fill(1, first, first + count);
      }
      const asked = random.below(pieces);
      const length = Math.min(1 + random.below(random.pick([2, 70, 4000])), pieces - asked);
      const expected = permitted.subarray(asked, asked + length).every((bit) => bit === 1);
      expect(may(asked * PIECE, length * PIECE), `seed ${seed}, ${asked} + ${length}`).toBe(expected);
    }
  });

  test('is found at the end of a disk of 16 TiB', () => {
    const sizeBytes = 16 * 1024 * GIB;
    const { permits, may } = disk(64 * KIB, sizeBytes);
    permits.grantAndOpen(sizeBytes - 512, 512);
    expect(may(sizeBytes - 64 * KIB, 64 * KIB)).toBe(true);
    expect(may(sizeBytes - 65 * KIB, KIB)).toBe(false);
  });
});

describe('the permits', () => {
  test('open with a write that did not wait, not with one that waited', () => {
    const { permits, may } = disk(PIECE);
    permits.grant(0, PIECE);
    expect(may(0, PIECE)).toBe(false);
    permits.grantAndOpen(PIECE, PIECE);
    expect(may(0, 2 * PIECE)).toBe(true);
  });

  test('stay when they are closed, and are gone when they are withdrawn', () => {
    const { permits, may } = disk(PIECE);
    permits.grantAndOpen(0, 4 * PIECE);
    permits.close();
    expect(may(0, PIECE)).toBe(false);
    permits.grantAndOpen(8 * PIECE, PIECE);
    expect(may(0, PIECE)).toBe(true);
    permits.withdraw();
    permits.grantAndOpen(PIECE, PIECE);
    expect(may(PIECE, PIECE)).toBe(true);
    expect(may(0, PIECE)).toBe(false);
  });

  test('ask for the unit again after they were withdrawn', () => {
    const { permits, may, options } = disk(64 * KIB);
    permits.grantAndOpen(0, 512);
    permits.withdraw();
    options.unitBytes = PIECE;
    permits.grantAndOpen(0, 512);
    expect(may(0, PIECE)).toBe(true);
    expect(may(PIECE, PIECE)).toBe(false);
  });

  test('end with the time until which writes are allowed', () => {
    const { permits, may } = disk(PIECE);
    permits.grantAndOpen(0, PIECE);
    permits.allowUntil(Date.now() - 1);
    expect(may(0, PIECE)).toBe(false);
    permits.allowUntil(Date.now() + 60_000);
    expect(may(0, PIECE)).toBe(true);
  });

  test('rest during a change that may take long', () => {
    const { permits, may } = disk(PIECE);
    permits.grantAndOpen(0, PIECE);
    const ended = [permits.duringLongChange(), permits.duringLongChange()];
    ended[0]!();
    expect(may(0, PIECE)).toBe(false);
    ended[1]!();
    expect(may(0, PIECE)).toBe(true);
  });
});

describe('the owner', () => {
  test('waits until the threads that write have ended their writes', async () => {
    const { permits, thread, other } = disk(PIECE);
    permits.grantAndOpen(0, PIECE);
    expect(thread.begin(0, PIECE)).toBe(true);
    permits.withdraw();
    let quiet = false;
    const waiting = permits.quiet().then(() => {
      quiet = true;
    });
    for (let turn = 0; turn < 100; turn++) await new Promise(setImmediate);
    expect(quiet).toBe(false);
    expect(permits.inFlight).toBe(1);
    // It asks in vain, and is not waited for.
    expect(other.begin(0, PIECE)).toBe(false);
    other.end(false);
    thread.end(true);
    await waiting;
    expect(permits.inFlight).toBe(0);
  });

  test('does not wait for a write that begins after the one that it waits for', async () => {
    const { permits, thread } = disk(PIECE);
    permits.grantAndOpen(0, PIECE);
    thread.begin(0, PIECE);
    const waiting = permits.quiet();
    thread.end(true);
    thread.begin(0, PIECE);
    await waiting;
    thread.end(true);
  });

  test('looks less and less often at a thread whose disk hangs, because every cut that gives up goes on looking', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'setImmediate'] });
    onTestFinished(() => void vi.useRealTimers());
    const { permits, thread } = disk(PIECE);
    permits.grantAndOpen(0, PIECE);
    thread.begin(0, PIECE);
    const timers = vi.spyOn(globalThis, 'setTimeout');
    const waiting = permits.quiet();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(timers.mock.calls.length).toBeLessThan(1000);
    thread.end(true);
    await vi.advanceTimersByTimeAsync(100);
    await waiting;
  });

  test('no longer waits for a thread that has ended in the middle of a write', async () => {
    const { permits, thread } = disk(PIECE);
    permits.grantAndOpen(0, PIECE);
    thread.begin(0, PIECE);
    permits.leave(0);
    await permits.quiet();
    permits.leave(0);
    expect(permits.inFlight).toBe(0);
  });

  test('sees that a thread has written, and when', () => {
    const { permits, thread } = disk(PIECE);
    permits.grantAndOpen(0, PIECE);
    const before = { finished: permits.finished, at: Date.now() };
    thread.begin(0, PIECE);
    thread.end(true);
    expect(permits.finished).not.toBe(before.finished);
    expect(permits.lastEndedAt).toBeGreaterThanOrEqual(before.at);
  });
});

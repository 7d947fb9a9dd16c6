import { expect, test } from 'vitest';
import { KIB, MIB } from '../../../src/base/units.js';
import { LookAhead } from '../../../src/bitmap/store/look-ahead.js';

const MAX_BYTES = 1000 * MIB;

function scene(isWritten = true) {
  const lookAhead = new LookAhead(MAX_BYTES, () => isWritten);
  let now = 0;
  const write = (from: number, length: number, waits = false) =>
    lookAhead.note({ from, end: from + length }, waits, now);
  /** Writes one range after the other, and returns up to where marks were asked for, beyond the last write. */
  const fill = (from: number, end: number, blockBytes: number, milliseconds: number) => {
    let asked = from;
    for (let at = from; at < end; at += blockBytes) {
      now += milliseconds;
      asked = Math.max(asked, write(at, blockBytes)?.end ?? 0);
    }
    return asked - end;
  };
  return { lookAhead, write, fill };
}

test('nothing is marked ahead of a first write, nor of writes elsewhere', () => {
  const { write } = scene();
  expect([0, 100, 50, 70, 52].map((megabytes) => write(megabytes * MIB, 64 * KIB))).toEqual(
    new Array<undefined>(5).fill(undefined),
  );
});

test('at first as much is marked ahead as was written since the writer was noticed', () => {
  const { write } = scene();
  write(0, 256 * KIB);
  expect(write(256 * KIB, 256 * KIB)).toEqual({ from: 512 * KIB, end: 768 * KIB });
  expect(write(512 * KIB, 256 * KIB)).toEqual({ from: 768 * KIB, end: 1280 * KIB });
});

test('a writer gets what it reaches in 0.3 seconds, and more when a quarter of that is used', () => {
  const { fill, write } = scene();
  // 100 MiB a second.
  const ahead = fill(0, 500 * MIB, MIB, 10);
  expect(ahead).toBeGreaterThan(20 * MIB);
  expect(ahead).toBeLessThanOrEqual(31 * MIB);
  // It goes on at the same speed: a commit for each seven or eight of its writes.
  let asked = 0;
  for (let at = 500; at < 600; at++) if (fill(at * MIB, (at + 1) * MIB, MIB, 10) > 0) asked++;
  expect(asked).toBeLessThan(20);
  expect(write(1000 * MIB, MIB)).toBeUndefined();
});

test('a slow writer gets little', () => {
  expect(scene().fill(0, 20 * MIB, 64 * KIB, 32)).toBeLessThanOrEqual(MIB);
});

test('after a slow commit the reach is three times its duration, for thirty ticks', () => {
  const { fill, lookAhead } = scene();
  lookAhead.noteCommit(2000);
  lookAhead.noteCommit(2);
  expect(fill(0, 2000 * MIB, MIB, 10)).toBeGreaterThan(400 * MIB);
  for (let i = 0; i < 29; i++) lookAhead.tick();
  expect(fill(3000 * MIB, 5000 * MIB, MIB, 10)).toBeGreaterThan(400 * MIB);
  lookAhead.tick();
  expect(fill(6000 * MIB, 8000 * MIB, MIB, 10)).toBeLessThan(40 * MIB);
});

test('no more is marked ahead than the limit', () => {
  const { fill } = scene();
  expect(fill(0, 8000 * MIB, 16 * MIB, 1)).toBeLessThanOrEqual(MAX_BYTES);
});

test('a writer that has to wait gets marks from where it is, and more each time', () => {
  const { lookAhead, write } = scene();
  const reaches = [];
  let at = 0;
  for (let i = 0; i < 5; i++) {
    write(at, MIB);
    at += MIB;
    const ahead = write(at, MIB, true)!;
    at += MIB;
    expect(ahead.from).toBe(at);
    reaches.push((ahead.end - ahead.from) / (at - MIB));
    lookAhead.noteCommit(1);
  }
  expect(reaches).toEqual([1, 2, 4, 8, 8]);
});

test('writes that wait for the same commit do not make it get more', () => {
  const { write } = scene();
  write(0, MIB);
  for (let at = 1; at < 8; at++) {
    expect(write(at * MIB, MIB, true)).toEqual({ from: (at + 1) * MIB, end: (2 * at + 1) * MIB });
  }
});

test('a writer that leaves gaps gets nothing', () => {
  const { write } = scene();
  for (let at = 0; at < 100; at++) expect(write(at * MIB, 64 * KIB)).toBeUndefined();
});

test('writes that arrive out of order belong to one writer', () => {
  const { write } = scene();
  const block = 256 * KIB;
  const asked = [0, 3, 1, 2, 5, 4, 7, 6].map((at) => write(at * block, block)?.end ?? 0);
  expect(Math.max(...asked)).toBeGreaterThan(10 * block);
});

test.each([
  [true, 'goes on'],
  [false, 'begins again'],
])('a writer that is heard of further on has filled what lies between: %s, so it %s', (isWritten) => {
  const { write } = scene(isWritten);
  write(0, MIB);
  write(MIB, 31 * MIB);
  // Marks reach to 63 MiB.
  expect(write(60 * MIB, MIB) !== undefined).toBe(isWritten);
});

test('a large trim is not taken for a sequential writer', () => {
  const { write } = scene();
  for (let at = 0; at < 4; at++) expect(write(at * 1000 * MIB, 1000 * MIB)).toBeUndefined();
});

test('several writers are followed at once', () => {
  const { write } = scene();
  for (let i = 0; i < 10; i++) write(i * 1000 * MIB, MIB);
  for (let i = 0; i < 10; i++) expect(write(i * 1000 * MIB + MIB, MIB)).toBeDefined();
});

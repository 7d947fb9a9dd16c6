import { expect, test } from 'vitest';
import { CommitPressure } from '../../../src/bitmap/store/commit-pressure.js';

/** Makes this many commits, for each of which `changes` wait, with pauses in between. Times are in milliseconds. */
function scene() {
  const pressure = new CommitPressure(0);
  let now = 0;
  const commits = (count: number, took: number, pause: number, changes = 1) => {
    for (let i = 0; i < count; i++) {
      for (let change = 0; change < changes; change++) pressure.wait(now);
      now += took;
      pressure.noteCommit(now);
      for (let change = 0; change < changes; change++) pressure.goOn(now);
      now += pause;
    }
    return pressure.isHigh;
  };
  const ticks = (count: number) => {
    for (let i = 0; i < count; i++) pressure.tick();
  };
  return { pressure, commits, ticks };
}

test('changes that wait for less than half of the time make no pressure', () => {
  const { commits } = scene();
  expect(commits(100_000, 0.6, 1.4)).toBe(false);
  expect(commits(100_000, 5, 5.1)).toBe(false);
});

test('changes that wait nearly all of the time make pressure, but not within a few commits', () => {
  const { commits } = scene();
  expect(commits(50, 0.5, 0)).toBe(false);
  expect(commits(20, 0.5, 0)).toBe(true);
});

test('very many commits make pressure, however short they are', () => {
  expect(scene().commits(100_000, 0.01, 1.2)).toBe(false);
  expect(scene().commits(1000, 0.01, 0.8)).toBe(true);
});

test('the more changes wait, the sooner they make pressure', () => {
  const { commits } = scene();
  expect(commits(10, 0.5, 0, 32)).toBe(false);
  expect(commits(10, 0.5, 0, 32)).toBe(true);
});

test('one slow commit makes no pressure, many do', () => {
  const { commits } = scene();
  expect(commits(1, 5000, 0)).toBe(false);
  expect(commits(10, 5000, 0)).toBe(true);
});

test('commits for which nothing waits make no pressure', () => {
  const { pressure } = scene();
  for (let i = 0; i < 1000; i++) pressure.noteCommit(1000 * i);
  expect(pressure.isHigh).toBe(false);
});

test('pressure lasts until changes have waited little for a while', () => {
  const { commits } = scene();
  commits(1000, 0.5, 0);
  expect(commits(20, 0.5, 2)).toBe(true);
  expect(commits(200, 0.5, 2)).toBe(false);
});

test('regions have to be calm for longer each time when pressure soon comes back', () => {
  const { pressure, commits, ticks } = scene();
  const seen = [];
  for (let i = 0; i < 7; i++) {
    commits(1000, 0.5, 0);
    seen.push(pressure.ticksToCalm);
    ticks(10);
    commits(2, 0, 1000);
  }
  expect(seen).toEqual([1, 2, 4, 8, 16, 16, 16]);
  ticks(30);
  commits(1000, 0.5, 0);
  expect(pressure.ticksToCalm).toBe(1);
});

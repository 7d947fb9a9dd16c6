import { expect, test } from 'vitest';
import { PassClock } from '../../src/session/pass-clock.js';

/** A clock on which each reading is 1 more than the one before. */
function counting() {
  let readings = 0;
  return new PassClock(() => ++readings);
}

test('outside of a pass, the clock is read each time', () => {
  const clock = counting();
  expect([clock.now(), clock.now(), clock.exactly(), clock.now()]).toEqual([1, 2, 3, 4]);
});

test('in a pass, all share a reading until somebody needs an exact one', () => {
  const clock = counting();
  clock.beginPass();
  expect([clock.now(), clock.now(), clock.exactly(), clock.now(), clock.now()]).toEqual([1, 1, 2, 2, 2]);
  clock.endPass();
  expect([clock.now(), clock.now()]).toEqual([3, 4]);
});

test('a pass begins with a reading of its own', () => {
  const clock = counting();
  clock.beginPass();
  clock.now();
  clock.beginPass();
  expect(clock.now()).toBe(2);
});

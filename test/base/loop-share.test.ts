import { expect, test } from 'vitest';
import { giveWay } from '../../src/base/loop-share.js';

function work(milliseconds: number): void {
  for (const end = performance.now() + milliseconds; performance.now() < end; );
}

test('concurrent long computations together use only a few milliseconds of each turn of the event loop', async () => {
  let turns = 0;
  let running = true;
  const count = () => {
    turns++;
    if (running) setImmediate(count);
  };
  setImmediate(count);
  const compute = async () => {
    for (let step = 0; step < 10; step++) {
      await giveWay();
      work(3);
    }
  };
  await Promise.all([compute(), compute(), compute()]);
  running = false;
  // 90 ms of work. Once all three have begun, a turn runs at most two steps.
  expect(turns).toBeGreaterThanOrEqual(13);
});

test('short computations do not wait for a turn', async () => {
  let turned = false;
  setImmediate(() => {
    turned = true;
  });
  for (let i = 0; i < 10; i++) await giveWay();
  expect(turned).toBe(false);
});

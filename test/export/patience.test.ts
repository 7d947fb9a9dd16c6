import { beforeEach, expect, test, vi } from 'vitest';
import { Turnstile } from '../../src/base/turnstile.js';
import { Patience } from '../../src/export/patience.js';

const disk = { name: 'disk' };

beforeEach(() => {
  vi.useFakeTimers();
  return () => void vi.useRealTimers();
});

test('work that is admitted at the very moment when patience ends is waited for', async () => {
  const patience = new Patience(5);
  const steps: string[] = [];
  const passed = patience.pass(
    disk,
    {
      pass: (work) => {
        const working = work();
        vi.advanceTimersByTime(5000);
        return working;
      },
    },
    async () => {
      for (let turn = 0; turn < 20; turn++) await Promise.resolve();
      steps.push('done');
    },
  );
  await passed.finally(() => steps.push('over'));
  expect(steps).toEqual(['done', 'over']);
});

test('work that is admitted too late is not begun', async () => {
  const turnstile = new Turnstile(1);
  let leave = () => {};
  void turnstile.pass(
    () =>
      new Promise<void>((resolve) => {
        leave = resolve;
      }),
  );
  const work = vi.fn(async () => {});
  const passed = new Patience(5).pass(disk, turnstile, work);
  vi.advanceTimersByTime(5000);
  await expect(passed).rejects.toMatchObject({ code: 'CUT_TIMED_OUT' });
  leave();
  await turnstile.pass(async () => {});
  expect(work).not.toHaveBeenCalled();
});

import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { Turnstile } from '../../src/base/turnstile.js';

describe('a turnstile', () => {
  it('limits how many run at a time, and runs the others in order', async () => {
    const turnstile = new Turnstile(2);
    const started: number[] = [];
    const finish: (() => void)[] = [];
    const all = [0, 1, 2, 3].map((index) =>
      turnstile.pass(() => {
        started.push(index);
        return new Promise<void>((resolve) => finish.push(resolve));
      }),
    );
    await nextTurn();
    expect(started).toEqual([0, 1]);
    finish[1]!();
    await nextTurn();
    expect(started).toEqual([0, 1, 2]);
    finish[0]!();
    finish[2]!();
    await nextTurn();
    expect(started).toEqual([0, 1, 2, 3]);
    finish[3]!();
    await Promise.all(all);
  });

  it('passes a failure on and lets the next one in', async () => {
    const turnstile = new Turnstile(1);
    const failing = turnstile.pass(async () => {
      throw new Error('no');
    });
    const next = turnstile.pass(async () => 'done');
    await expect(failing).rejects.toThrow('no');
    expect(await next).toBe('done');
    expect(await turnstile.pass(async () => 'again')).toBe('again');
  });
});

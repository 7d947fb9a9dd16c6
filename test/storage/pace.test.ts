import { describe, expect, it } from 'vitest';
import { MIB } from '../../src/base/units.js';
import { Pace } from '../../src/storage/file/pace.js';

/** A pace with a clock that the test moves. */
class PaceAtHand {
  nowMs = 1_000_000;
  readonly pace = new Pace(() => this.nowMs);

  get allowsNow(): boolean {
    return this.pace.allowsNow(this.nowMs);
  }

  pass(ms: number): void {
    this.nowMs += ms;
  }

  now(tookMs: number, bytes = 0): void {
    const startMs = this.nowMs;
    this.nowMs += tookMs;
    this.pace.tookNow(startMs, bytes);
  }

  later(tookMs: number): void {
    const startMs = this.nowMs;
    this.nowMs += tookMs;
    this.pace.tookLater(startMs, 0);
  }

  /** How many milliseconds until calls are allowed on the event loop again. */
  pauseMs(): number {
    const startMs = this.nowMs;
    while (!this.allowsNow) this.pass(1);
    return this.nowMs - startMs;
  }
}

describe('the pace of calls', () => {
  it('allows quick calls on the event loop', () => {
    const hand = new PaceAtHand();
    for (let call = 0; call < 100; call++) hand.now(1);
    expect(hand.allowsNow).toBe(true);
  });

  it('pauses after a slow call', () => {
    const hand = new PaceAtHand();
    hand.now(50);
    expect(hand.allowsNow).toBe(false);
    expect(hand.pauseMs()).toBe(5);
  });

  it('allows for the time that copying takes', () => {
    const hand = new PaceAtHand();
    hand.now(20, 32 * MIB);
    expect(hand.allowsNow).toBe(true);
  });

  it('doubles the pause while each attempt is slow, up to a limit', () => {
    const hand = new PaceAtHand();
    const pauses = Array.from({ length: 10 }, () => {
      hand.now(50);
      return hand.pauseMs();
    });
    expect(pauses).toEqual([5, 10, 20, 40, 80, 160, 320, 640, 1280, 1280]);
  });

  it('starts again with a short pause after a quiet period', () => {
    const hand = new PaceAtHand();
    for (let call = 0; call < 4; call++) {
      hand.now(50);
      hand.pauseMs();
    }
    hand.pass(1000);
    hand.now(50);
    expect(hand.pauseMs()).toBe(5);
  });

  it('stays paused as long as the calls in the thread pool are slow', () => {
    const hand = new PaceAtHand();
    hand.now(50);
    for (let call = 0; call < 10; call++) {
      hand.later(15);
      expect(hand.allowsNow).toBe(false);
    }
    hand.later(1);
    expect(hand.pauseMs()).toBe(4);
  });

  it('does not begin a pause because of a call in the thread pool', () => {
    const hand = new PaceAtHand();
    hand.later(5000);
    expect(hand.allowsNow).toBe(true);
  });

  it('ends the pause when the clock is set back', () => {
    const hand = new PaceAtHand();
    hand.now(50);
    hand.pass(-3_600_000);
    expect(hand.allowsNow).toBe(true);
  });
});

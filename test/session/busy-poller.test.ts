import { describe, expect, it } from 'vitest';
import { BusyPoller } from '../../src/session/busy-poller.js';
import { BusyThreads, servedTimesOf } from '../../src/session/busy-threads.js';

const MICROSECOND = 1000;

const alone = () => new BusyThreads(servedTimesOf(1), 0);

/** A poller with a window of 50 µs. The test drives its clock and event loop. */
class Turntable {
  private now = 0;
  private turns: (() => void)[] = [];
  preemptions = 0;
  private readonly poller: BusyPoller;

  constructor(threads = alone()) {
    this.poller = new BusyPoller(
      50,
      threads,
      () => this.now,
      (turn) => this.turns.push(turn),
      () => this.preemptions,
    );
  }

  /** The next turn of the loop comes late. */
  pause(microseconds: number): void {
    this.now += microseconds * MICROSECOND;
  }

  /** Sends one message every `gapMicroseconds`. */
  serve(messages: number, gapMicroseconds: number, inMessage = false): void {
    for (let i = 0; i < messages; i++) {
      this.now += gapMicroseconds * MICROSECOND;
      this.poller.arrived();
      this.poller.served(inMessage);
    }
  }

  /** How long the loop keeps turning when nothing more arrives, in microseconds. */
  spun(): number {
    const from = this.now;
    for (; this.turns.length > 0; this.now += MICROSECOND) for (const turn of this.turns.splice(0)) turn();
    return (this.now - from) / MICROSECOND;
  }
}

describe('the busy poller', () => {
  it('lets the loop sleep while requests are rare', () => {
    const table = new Turntable();
    table.serve(100, 1000);
    expect(table.spun()).toBe(0);
  });

  it('turns for one window when requests follow one another', () => {
    const table = new Turntable();
    table.serve(100, 10);
    expect(table.spun()).toBeCloseTo(51);
  });

  it('sleeps again after one long pause, and is not put off by it', () => {
    const table = new Turntable();
    table.serve(100, 10);
    table.spun();
    table.serve(1, 1_000_000);
    expect(table.spun()).toBe(0);
    table.serve(20, 10);
    expect(table.spun()).toBeCloseTo(51);
  });

  it('waits longer for the rest of a message, even when messages are rare', () => {
    const table = new Turntable();
    table.serve(1, 1_000_000, true);
    expect(table.spun()).toBeCloseTo(201);
  });

  it('stops for a quarter of a second when another program takes the processor while it turns', () => {
    const table = new Turntable();
    table.serve(100, 10);
    table.spun();
    table.serve(100, 10);
    table.preemptions++;
    table.pause(1_100);
    table.spun();
    table.serve(100, 10);
    expect(table.spun()).toBe(0);
    table.serve(1, 10, true);
    expect(table.spun()).toBeCloseTo(201);
    table.serve(1, 250_000);
    table.serve(100, 10);
    expect(table.spun()).toBeCloseTo(51);
  });

  it('is not stopped by a short preemption, nor by a turn that is long for another reason', () => {
    const table = new Turntable();
    table.serve(100, 10);
    table.preemptions++;
    expect(table.spun()).toBeCloseTo(51);
    table.serve(2000, 10);
    table.spun();
    table.serve(100, 10);
    table.pause(1_100);
    table.spun();
    table.serve(100, 10);
    expect(table.spun()).toBeCloseTo(51);
  });

  it('sleeps while more threads are busy than may poll, even in the middle of a message', () => {
    const times = servedTimesOf(2);
    const other = new BusyThreads(times, 1, 1);
    const table = new Turntable(new BusyThreads(times, 0, 1));
    table.serve(100, 10);
    expect(table.spun()).toBeCloseTo(51);
    other.mayPollAfterServing(0);
    table.serve(100, 10);
    expect(table.spun()).toBe(0);
    table.serve(1, 10, true);
    expect(table.spun()).toBe(0);
    table.pause(6_000);
    table.serve(100, 10);
    expect(table.spun()).toBeCloseTo(51);
  });

  it('takes no notice of other threads where all of them may poll', () => {
    const times = servedTimesOf(2);
    const table = new Turntable(new BusyThreads(times, 0, 2));
    new BusyThreads(times, 1, 2).mayPollAfterServing(0);
    table.serve(100, 10);
    expect(table.spun()).toBeCloseTo(51);
  });

  it('is off with a window of 0', () => {
    const turns: unknown[] = [];
    const poller = new BusyPoller(
      0,
      alone(),
      () => 0,
      (turn) => turns.push(turn),
    );
    poller.arrived();
    poller.served(true);
    expect(turns).toEqual([]);
  });
});

import type { BusyThreads } from './busy-threads.js';

const NANOSECONDS_PER_MICROSECOND = 1000;
/** The newest gap counts for an eighth of the running mean. */
const MEAN_SHIFT = 3;
/** A longer gap counts as this many windows, so that one pause does not outweigh a long busy period. */
const LONGEST_GAP_WINDOWS = 8;
/** Windows to wait for the rest of a message. */
const MESSAGE_WINDOWS = 4;

/** The scheduler gives another program the processor for at least this long. A turn without work takes microseconds. */
const LONG_TURN_NANOSECONDS = 1_000_000;
/** How long polling stops when another program wanted the processor. */
const YIELD_NANOSECONDS = 250_000_000;
/** How old the count of preemptions may be with which a new one is compared. */
const COUNT_NANOSECONDS = 10_000_000;

/** Nanoseconds of a monotonic clock. */
export type Clock = () => number;

const monotonicClock: Clock = () => performance.now() * 1e6;

/** How many times the system took the processor from this process, so far. Takes about 2 µs. */
const countPreemptions = () => process.resourceUsage().involuntaryContextSwitches;

/**
 * Keeps the event loop turning for a short while after activity, because waking it up costs more than a small request.
 * It spins only while recent requests followed each other within the window, so an idle server, or one with slow
 * clients, sleeps.
 *
 * Between messages it also sleeps while other programs want the processor. Whoever spins uses up its share of the time,
 * and then has to wait when a request arrives. It sleeps in any case while too many threads of this server are busy.
 */
export class BusyPoller {
  private readonly windowNanoseconds: number;
  private meanGapNanoseconds: number;
  private servedAt = 0;
  private spinUntil = 0;
  private turnedAt = 0;
  private yieldsUntil = 0;
  private preemptions = 0;
  private countedAt = Number.NEGATIVE_INFINITY;
  private spinning = false;
  private readonly turn = () => this.spin();

  /** A `windowMicroseconds` of 0 turns polling off. */
  constructor(
    windowMicroseconds: number,
    private readonly threads: BusyThreads,
    private readonly now: Clock = monotonicClock,
    private readonly schedule: (turn: () => void) => void = setImmediate,
    private readonly preemptionCount: () => number = countPreemptions,
  ) {
    this.windowNanoseconds = windowMicroseconds * NANOSECONDS_PER_MICROSECOND;
    this.meanGapNanoseconds = this.windowNanoseconds * LONGEST_GAP_WINDOWS;
  }

  /** Bytes from a client have arrived. */
  arrived(): void {
    if (this.windowNanoseconds === 0) return;
    const gap = Math.min(this.now() - this.servedAt, this.windowNanoseconds * LONGEST_GAP_WINDOWS);
    this.meanGapNanoseconds += (gap - this.meanGapNanoseconds) / 2 ** MEAN_SHIFT;
  }

  /** Everything that arrived has been handled. `inMessage`: the rest of a message is still to come. */
  served(inMessage: boolean): void {
    if (this.windowNanoseconds === 0) return;
    this.servedAt = this.now();
    this.turnedAt = this.servedAt;
    if (!this.threads.mayPollAfterServing(this.servedAt)) return;
    if (inMessage) this.spinUntil = this.servedAt + this.windowNanoseconds * MESSAGE_WINDOWS;
    else if (this.meanGapNanoseconds > this.windowNanoseconds || this.servedAt < this.yieldsUntil) return;
    else this.spinUntil = this.servedAt + this.windowNanoseconds;
    if (this.spinning) return;
    this.spinning = true;
    this.schedule(this.turn);
  }

  private spin(): void {
    const now = this.now();
    if (now - this.turnedAt > LONG_TURN_NANOSECONDS) {
      if (this.wasPreempted(now)) this.yieldsUntil = now + YIELD_NANOSECONDS;
    } else if (now - this.countedAt > COUNT_NANOSECONDS) this.wasPreempted(now);
    this.turnedAt = now;
    if (now < this.spinUntil) this.schedule(this.turn);
    else this.spinning = false;
  }

  /** Since the last call. A turn may be long for another reason, such as a garbage collection. */
  private wasPreempted(now: number): boolean {
    const before = this.preemptions;
    this.preemptions = this.preemptionCount();
    this.countedAt = now;
    return this.preemptions > before;
  }
}

const NANOSECONDS_PER_MICROSECOND = 1000;
/** The newest gap counts for an eighth of the running mean. */
const MEAN_SHIFT = 3;
/** A longer gap counts as this many windows, so that one pause does not outweigh a long busy period. */
const LONGEST_GAP_WINDOWS = 8;
/** Windows to wait for the rest of a message. */
const MESSAGE_WINDOWS = 4;

/** Nanoseconds of a monotonic clock. */
export type Clock = () => number;

const monotonicClock: Clock = () => performance.now() * 1e6;

/**
 * Keeps the event loop turning for a short while after activity, because waking it up costs more than a small request.
 * It spins only while recent requests followed each other within the window, so an idle server, or one with slow
 * clients, sleeps.
 */
export class BusyPoller {
  private readonly windowNanoseconds: number;
  private meanGapNanoseconds: number;
  private servedAt = 0;
  private spinUntil = 0;
  private spinning = false;
  private readonly turn = () => this.spin();

  /** A `windowMicroseconds` of 0 turns polling off. */
  constructor(
    windowMicroseconds: number,
    private readonly now: Clock = monotonicClock,
    private readonly schedule: (turn: () => void) => void = setImmediate,
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
    if (inMessage) this.spinUntil = this.servedAt + this.windowNanoseconds * MESSAGE_WINDOWS;
    else if (this.meanGapNanoseconds > this.windowNanoseconds) return;
    else this.spinUntil = this.servedAt + this.windowNanoseconds;
    if (this.spinning) return;
    this.spinning = true;
    this.schedule(this.turn);
  }

  private spin(): void {
    if (this.now() < this.spinUntil) this.schedule(this.turn);
    else this.spinning = false;
  }
}

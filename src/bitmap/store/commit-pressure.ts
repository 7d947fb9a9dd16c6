/** For this long, changes may wait before whole regions are marked. */
const ALLOWANCE_MS = 60;
/** A commit costs the processor something too. On a fast store this limits exact marks to about 1000 commits a second. */
const LEAST_FOR_A_COMMIT_MS = 1;
/** A single slow commit does not show that commits hold writers up. */
const MOST_FOR_A_COMMIT_MS = 8;
/** When more changes than this wait for a commit, it counts more, because writers are fast. */
const FEW_CHANGES = 8;
/** Ticks of the clock after which a whole region may go back to pieces, at first and at most. */
const LEAST_TICKS = 1;
const MOST_TICKS = 16;
/** After this many ticks without pressure, the next one counts as the first. */
const FORGOTTEN_AFTER_TICKS = 30;

/**
 * Whether commits hold the writers of a disk up. Naming what is written exactly takes a commit for each new piece. So
 * the time in which changes wait for commits is spent from an allowance, and the time in which none waits fills it
 * again: changes may wait for half of the time. A writer at full speed spends all of it within some tens of
 * milliseconds. Times are in milliseconds, from `performance.now()`.
 */
export class CommitPressure {
  private waiting = 0;
  /** Since when the time that was waited, or not, is not counted yet. */
  private since: number;
  private allowance = ALLOWANCE_MS;
  private high = false;
  private ticksSince = FORGOTTEN_AFTER_TICKS;
  private ticks = LEAST_TICKS;

  constructor(now: number) {
    this.since = now;
  }

  /** From the moment when the allowance is spent until it is full again. */
  get isHigh(): boolean {
    return this.high;
  }

  /** For this many ticks a whole region has to be calm. Twice as many each time when the pressure soon comes back. */
  get ticksToCalm(): number {
    return this.ticks;
  }

  /** A change begins to wait for a commit. */
  wait(now: number): void {
    if (this.waiting++ > 0) return;
    this.allowance = Math.min(this.allowance + now - this.since, ALLOWANCE_MS);
    this.since = now;
    if (this.allowance === ALLOWANCE_MS) this.high = false;
  }

  /** It does not wait any more. */
  goOn(now: number): void {
    if (--this.waiting > 0) return;
    this.spend(Math.min(now - this.since, MOST_FOR_A_COMMIT_MS), now);
  }

  /** A commit is through. Call it before the changes that waited for it go on. */
  noteCommit(now: number): void {
    if (this.waiting === 0) return;
    const counted = Math.min(Math.max(now - this.since, LEAST_FOR_A_COMMIT_MS), MOST_FOR_A_COMMIT_MS);
    this.spend(counted * Math.max(1, this.waiting / FEW_CHANGES), now);
  }

  tick(): void {
    this.ticksSince++;
  }

  private spend(milliseconds: number, now: number): void {
    this.since = now;
    this.allowance = Math.max(this.allowance - milliseconds, 0);
    if (this.allowance === 0 && !this.high) this.rise();
  }

  private rise(): void {
    this.high = true;
    this.ticks = this.ticksSince < FORGOTTEN_AFTER_TICKS ? Math.min(this.ticks * 2, MOST_TICKS) : LEAST_TICKS;
    this.ticksSince = 0;
  }
}

const MILLISECONDS_PER_SECOND = 1000;

/** How long a backup may go on without a sign of life from its agent. By a clock that nobody sets. */
export class Lease {
  private deadline = 0;
  private readsSeen = 0;

  constructor(
    private ttl: number,
    private readonly now: () => number = () => performance.now(),
  ) {
    this.renew();
  }

  /** How long it lasts from each renewal. */
  get ttlSeconds(): number {
    return this.ttl;
  }

  get expired(): boolean {
    return this.now() >= this.deadline;
  }

  get expiresAt(): Date {
    return new Date(Date.now() + this.deadline - this.now());
  }

  renew(ttlSeconds = this.ttl): void {
    this.ttl = ttlSeconds;
    this.deadline = this.now() + ttlSeconds * MILLISECONDS_PER_SECOND;
  }

  /** `reads`: how many there were in all. More than last time is a sign of life. */
  noticeReads(reads: number): void {
    if (reads > this.readsSeen) this.renew();
    this.readsSeen = reads;
  }
}

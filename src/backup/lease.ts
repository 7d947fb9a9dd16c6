const MILLISECONDS_PER_SECOND = 1000;

/** How long a backup may continue without a sign of life from its agent, by a monotonic clock. */
export class Lease {
  private deadline = 0;
  private readsSeen = 0;

  constructor(
    private ttl: number,
    private readonly now: () => number = () => performance.now(),
  ) {
    this.renew();
  }

  /** Duration from each renewal. */
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

  /** `reads` is the total number of reads. An increase is a sign of life and renews the lease. */
  noticeReads(reads: number): void {
    if (reads > this.readsSeen) this.renew();
    this.readsSeen = reads;
  }
}

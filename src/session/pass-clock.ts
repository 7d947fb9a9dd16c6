/**
 * The time of `performance.now()`, for all who ask while a link handles what it has received. They share readings, because
 * one takes a tenth of a microsecond.
 */
export class PassClock {
  private reading = 0;
  private isShared = false;
  private hasReading = false;

  constructor(private readonly read: () => number = () => performance.now()) {}

  /** From here to `endPass`, `now` may return the reading before. */
  beginPass(): void {
    this.isShared = true;
    this.hasReading = false;
  }

  endPass(): void {
    this.isShared = false;
    this.hasReading = false;
  }

  /** Exact to the time that the work since the reading before took. */
  now(): number {
    return this.hasReading ? this.reading : this.exactly();
  }

  exactly(): number {
    this.reading = this.read();
    this.hasReading = this.isShared;
    return this.reading;
  }
}

/** What one client has done so far. */
export interface Counted {
  readonly id: number;
  readonly requests: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
}

/** The counters of a disk's clients at one time, in milliseconds. */
export interface Sample {
  readonly at: number;
  readonly clients: readonly Counted[];
}

/** What clients do each second. `at` is in seconds. */
export interface Rates {
  readonly at: number;
  readonly requests: number;
  readonly readBytes: number;
  readonly writtenBytes: number;
}

/** From one sample to the next. A client that came in between began at 0; what one did before it left is not known. */
export function ratesBetween(before: Sample, now: Sample): Rates {
  const seconds = Math.max((now.at - before.at) / 1000, 0.001);
  const known = new Map(before.clients.map((client) => [client.id, client]));
  const perSecond = (of: (client: Counted) => number) => {
    const total = now.clients.reduce((sum, client) => {
      const earlier = known.get(client.id);
      return sum + Math.max(of(client) - (earlier ? of(earlier) : 0), 0);
    }, 0);
    return total / seconds;
  };
  return {
    at: now.at / 1000,
    requests: perSecond(({ requests }) => requests),
    readBytes: perSecond(({ bytesRead }) => bytesRead),
    writtenBytes: perSecond(({ bytesWritten }) => bytesWritten),
  };
}

const MAX_POINTS = 300;

/** The rates of one disk over the last few minutes. */
export class RateHistory {
  private last: Sample | undefined;
  /** The oldest first. A new array after each sample. */
  points: readonly Rates[] = [];

  add(sample: Sample): void {
    if (this.last) this.points = [...this.points, ratesBetween(this.last, sample)].slice(-MAX_POINTS);
    this.last = sample;
  }

  /** Begins again, because the counters of the next sample are not those of the last one. */
  interrupt(): void {
    this.last = undefined;
  }
}

const REPEAT_AFTER_MILLISECONDS = 60_000;

interface Kind {
  loggedAt: number;
  unlogged: number;
}

/**
 * Keeps what fails thousands of times a second from filling the log: of each kind the first is logged, and after that
 * one a minute.
 */
export class LogLimit {
  private readonly kinds = new Map<string, Kind>();

  /** `now` tells milliseconds. */
  constructor(private readonly now: () => number = Date.now) {}

  /** How many of a kind were not logged since the last that was; undefined when this one is not to be logged either. */
  admit(kind: string): number | undefined {
    const now = this.now();
    const known = this.kinds.get(kind);
    if (known && now < known.loggedAt + REPEAT_AFTER_MILLISECONDS) {
      known.unlogged++;
      return undefined;
    }
    this.kinds.set(kind, { loggedAt: now, unlogged: 0 });
    return known?.unlogged ?? 0;
  }
}

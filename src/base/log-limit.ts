const REPEAT_AFTER_MILLISECONDS = 60_000;
/** Kinds may be named by strangers, such as after their addresses. The oldest are forgotten. */
const MAX_KINDS = 10_000;

interface Kind {
  loggedAt: number;
  unlogged: number;
}

/**
 * Stops an error that happens thousands of times a second from filling the log. The first error of each kind is logged,
 * then at most one a minute.
 */
export class LogLimit {
  private readonly kinds = new Map<string, Kind>();

  /** `now` returns milliseconds. */
  constructor(private readonly now: () => number = Date.now) {}

  /**
   * How many errors of this kind were skipped since the last logged one; undefined if this one should be skipped too.
   */
  admit(kind: string): number | undefined {
    const now = this.now();
    const known = this.kinds.get(kind);
    if (known && now < known.loggedAt + REPEAT_AFTER_MILLISECONDS) {
      known.unlogged++;
      return undefined;
    }
    this.kinds.delete(kind);
    this.kinds.set(kind, { loggedAt: now, unlogged: 0 });
    if (this.kinds.size > MAX_KINDS) this.kinds.delete(this.kinds.keys().next().value!);
    return known?.unlogged ?? 0;
  }
}

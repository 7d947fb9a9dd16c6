import { CodedError } from '../base/coded-error.js';
import type { Turnstile } from '../base/turnstile.js';

/** The export that is being waited for. */
interface Waited {
  readonly name: string;
}

/** A time limit for the answers of all disks together. After it, waiting fails. */
export class Patience {
  private readonly timer: NodeJS.Timeout;
  private readonly lost: Promise<undefined>;

  constructor(private readonly seconds: number) {
    let lose = (_nothing: undefined) => {};
    this.lost = new Promise((resolve) => {
      lose = resolve;
    });
    this.timer = setTimeout(() => lose(undefined), seconds * 1000);
  }

  /**
   * Resolves to `answer` if it comes in time. An answer that comes later goes to `discard`. @throws CodedError
   * CUT_TIMED_OUT, which names the export
   */
  async waitFor<T>({ name }: Waited, answer: Promise<T>, discard?: (late: T) => unknown): Promise<T> {
    const answered = await Promise.race([answer.then((value) => ({ value })), this.lost]);
    if (answered) return answered.value;
    if (discard) answer.then(discard).catch(() => {});
    throw new CodedError(
      'CUT_TIMED_OUT',
      `"${name}" did not answer within ${this.seconds} s, so nothing was changed`,
      'writes continue; check whether its disk hangs, then try again, or allow more time with --cut-timeout',
    );
  }

  /** Runs `work` when it is admitted, unless that comes too late. @throws CodedError CUT_TIMED_OUT */
  async pass<T>(waited: Waited, turnstile: Pick<Turnstile, 'pass'>, work: () => Promise<T>): Promise<T> {
    let isBegun = false;
    let isLate = false;
    let begin = () => {};
    const begun = new Promise<void>((resolve) => {
      begin = resolve;
    });
    const passed = turnstile.pass(async () => {
      if (isLate) return undefined;
      isBegun = true;
      begin();
      return { value: await work() };
    });
    try {
      await this.waitFor(waited, begun);
    } catch (error) {
      // It may have begun at the last moment. What has begun must not be left alone.
      isLate = !isBegun;
      if (isLate) throw error;
    }
    return (await passed)!.value;
  }

  /** Stops the timer. Call it when nothing waits any more. */
  end(): void {
    clearTimeout(this.timer);
  }
}

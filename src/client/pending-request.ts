import { NbdProtocolError, NbdRemoteError } from './errors.js';

/** More in one reply are no reply, but an attempt to keep us. */
const MAX_ERRORS = 1024;

/** A request on its way, and what has come back of it so far. */
export abstract class PendingRequest<Result> {
  /** Settles when the server has answered in full, or the connection is lost. */
  readonly settled: Promise<Result>;
  /** What the server said went wrong; the first of it counts. */
  private error: NbdRemoteError | undefined;
  private errors = 0;
  private resolve!: (result: Result) => void;
  private reject!: (error: Error) => void;

  constructor(
    /** For people: `to read 4096 bytes at 8192`. */
    readonly what: string,
  ) {
    this.settled = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
  }

  /** The server reports an error; more of the reply may follow. */
  fail(errno: number, message: string): void {
    if (errno === 0)
      throw new NbdProtocolError(`reported failure without an error in answer to a request ${this.what}`);
    if (++this.errors > MAX_ERRORS) throw this.violation('reported error after error');
    this.error ??= new NbdRemoteError(this.what, errno, message);
  }

  /** The reply is over. @throws NbdProtocolError when it says all is well but is not complete */
  finish(): void {
    if (this.error) this.reject(this.error);
    else this.resolve(this.result());
  }

  /** No answer will come. */
  abandon(error: Error): void {
    this.reject(error);
  }

  protected violation(what: string): NbdProtocolError {
    return new NbdProtocolError(`${what} in answer to a request ${this.what}`);
  }

  /** What the reply amounts to. @throws NbdProtocolError when something is missing */
  protected abstract result(): Result;
}

/** A request that brings nothing back but success or failure. */
export class PlainRequest extends PendingRequest<void> {
  protected result(): void {}
}

import { NbdProtocolError, NbdRemoteError } from './errors.js';

/** A server that reports more errors than this in one reply only keeps the client busy. */
const MAX_ERRORS = 1024;

/** A request in flight, and what has arrived of its reply. */
export abstract class PendingRequest<Result> {
  /** Settles when the reply is complete or the connection is lost. */
  readonly settled: Promise<Result>;
  /** The first error that the server reported. */
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

  /** Records an error that the server reported. More of the reply may follow. */
  fail(errno: number, message: string): void {
    if (errno === 0)
      throw new NbdProtocolError(`reported failure without an error in answer to a request ${this.what}`);
    if (++this.errors > MAX_ERRORS) throw this.violation('reported error after error');
    this.error ??= new NbdRemoteError(this.what, errno, message);
  }

  /** Settles the request at the end of its reply. @throws NbdProtocolError if a reply without errors is incomplete */
  finish(): void {
    if (this.error) this.reject(this.error);
    else this.resolve(this.result());
  }

  /** Fails the request, because no answer will arrive. */
  abandon(error: Error): void {
    this.reject(error);
  }

  protected violation(what: string): NbdProtocolError {
    return new NbdProtocolError(`${what} in answer to a request ${this.what}`);
  }

  /** The result of the reply. @throws NbdProtocolError when something is missing */
  protected abstract result(): Result;
}

/** A request whose reply has no content. */
export class PlainRequest extends PendingRequest<void> {
  protected result(): void {}
}

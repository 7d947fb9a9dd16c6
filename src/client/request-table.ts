import { NbdProtocolError } from './errors.js';
import type { PendingRequest } from './pending-request.js';

/** A request of any kind, as the code that receives its reply sees it. */
export type AnyRequest = Pick<PendingRequest<unknown>, 'settled' | 'fail' | 'finish' | 'abandon'>;

/** The requests in flight, by cookie. */
export class RequestTable {
  private readonly requests = new Map<number, AnyRequest>();
  private lastCookie = 0;

  /** `onOwed` is called with true when an answer becomes due, and with false when none is due any more. */
  constructor(private readonly onOwed: (owed: boolean) => void) {}

  get size(): number {
    return this.requests.size;
  }

  /** Returns the cookie to send. A connection never uses a cookie twice. */
  add(request: AnyRequest): number {
    this.requests.set(++this.lastCookie, request);
    if (this.requests.size === 1) this.onOwed(true);
    return this.lastCookie;
  }

  /** @throws NbdProtocolError when no request has that cookie */
  find(cookie: number): AnyRequest {
    const request = this.requests.get(cookie);
    if (!request) throw new NbdProtocolError('answered a request that was not made');
    return request;
  }

  /** Settles the request at the end of its reply. */
  finish(cookie: number): void {
    // An incomplete reply throws here and leaves its request for `abandonAll`.
    this.find(cookie).finish();
    this.requests.delete(cookie);
    if (this.requests.size === 0) this.onOwed(false);
  }

  abandonAll(error: Error): void {
    for (const request of this.requests.values()) request.abandon(error);
    this.requests.clear();
  }

  /** Resolves when every request that is now in flight has settled. */
  async settled(): Promise<void> {
    await Promise.allSettled([...this.requests.values()].map((request) => request.settled));
  }
}

import { NbdProtocolError } from './errors.js';
import type { PendingRequest } from './pending-request.js';

/** A request of any kind, as the one sees it who brings its reply. */
export type AnyRequest = Pick<PendingRequest<unknown>, 'settled' | 'fail' | 'finish' | 'abandon'>;

/** The requests that wait for an answer, by cookie. */
export class RequestTable {
  private readonly requests = new Map<number, AnyRequest>();
  private lastCookie = 0;

  /** `onOwed` is told when the first request begins to wait, and when none waits any more. */
  constructor(private readonly onOwed: (owed: boolean) => void) {}

  /** Returns the cookie to send. Cookies are not used again while the connection lasts. */
  add(request: AnyRequest): number {
    this.requests.set(++this.lastCookie, request);
    if (this.requests.size === 1) this.onOwed(true);
    return this.lastCookie;
  }

  /** @throws NbdProtocolError when no request has that cookie */
  find(cookie: number): AnyRequest {
    const request = this.requests.get(cookie);
    if (!request) throw new NbdProtocolError('answered a request that nobody made');
    return request;
  }

  /** The reply to that request is over. */
  finish(cookie: number): void {
    // A reply that proves incomplete throws here, and leaves its request to `abandonAll`.
    this.find(cookie).finish();
    this.requests.delete(cookie);
    if (this.requests.size === 0) this.onOwed(false);
  }

  abandonAll(error: Error): void {
    for (const request of this.requests.values()) request.abandon(error);
    this.requests.clear();
  }

  /** Resolves when every request that waits now has been answered or abandoned. */
  async settled(): Promise<void> {
    await Promise.allSettled([...this.requests.values()].map((request) => request.settled));
  }
}

import type { Log } from '../../base/log.js';
import { LogLimit } from '../../base/log-limit.js';

/** At what a client failed. */
export type Attempt = 'tls' | 'token' | 'rights';

interface RefusalFields {
  readonly reason: string;
  readonly identity?: string;
  /** OpenSSL's or Node's code. */
  readonly code?: string;
}

/** Logs which clients were refused and why, at most once a minute for each client and attempt. Counts all of them. */
export class RefusalLog {
  private readonly limit = new LogLimit();
  private readonly counted = new Map<Attempt, number>();

  constructor(private readonly log: Log) {}

  /** `client` is an address. The reason in `fields` is for the operator; the client is told less. */
  note(client: string, attempt: Attempt, fields: RefusalFields, sentence: string): void {
    this.counted.set(attempt, (this.counted.get(attempt) ?? 0) + 1);
    const sinceLast = this.limit.admit(`${attempt} ${client}`);
    if (sinceLast !== undefined) this.log.warn({ client, attempt, ...fields, sinceLast }, sentence);
  }

  /** How many clients were refused. */
  counts(): ReadonlyMap<Attempt, number> {
    return this.counted;
  }
}

import { isLoopback } from '../base/host-port.js';
import type { Log } from '../base/log.js';
import { LogLimit } from '../base/log-limit.js';
import { originOf } from './origin.js';

/** At what a client failed. `idle`: it did not finish the handshake. */
export type Attempt = 'tls' | 'token' | 'rights' | 'idle';

/** A client that failed, or wants to begin. */
export interface Applicant {
  readonly over: 'nbd' | 'api';
  /** For the log. */
  readonly client: string;
  /** See `originOf`, or a user of this machine. */
  readonly origin: string;
}

interface RefusalFields {
  readonly reason: string;
  readonly identity?: string;
  /** OpenSSL's or Node's code. */
  readonly code?: string;
}

/** So many failures in a row are free, as long as there is no longer pause between them than this. */
const FREE_FAILURES = 5;
const PAUSE_MILLISECONDS = 60_000;
/** The first rest. Each further failure doubles it. */
const FIRST_REST_MILLISECONDS = 1000;
const LONGEST_REST_MILLISECONDS = 60_000;
/** The origins that are remembered. The one that failed longest ago is forgotten first. */
const MAX_ORIGINS = 10_000;

/** What one origin has done. */
interface Conduct {
  failures: number;
  restMilliseconds: number;
  /** In the time of `now`. */
  restsUntil: number;
  readonly limit: LogLimit;
}

/**
 * Logs which clients were refused and why, at most once a minute for each origin and attempt, and counts all of them. An
 * origin that fails again and again has to rest.
 */
export class Refusals {
  private readonly origins = new Map<string, Conduct>();
  private readonly counted = new Map<string, { over: Applicant['over']; reason: Attempt | 'resting'; count: number }>();

  /** `now` returns milliseconds. */
  constructor(
    private readonly log: Log,
    private readonly now: () => number = Date.now,
  ) {}

  /** The reason in `fields` is for the operator; the client is told less. */
  note({ over, client, origin }: Applicant, attempt: Attempt, fields: RefusalFields, sentence: string): void {
    this.count(over, attempt);
    const conduct = this.conductOf(origin);
    const sinceLast = conduct.limit.admit(attempt);
    if (sinceLast !== undefined) this.log.warn({ client, attempt, ...fields, sinceLast }, sentence);
    if (isOneClient(origin)) this.charge(origin, conduct);
  }

  /** Whether the client has to be turned away without a look at what it wants. Counts that too. */
  turnsAway({ over, client, origin }: Applicant): boolean {
    const conduct = this.origins.get(origin);
    if (!conduct || this.now() >= conduct.restsUntil) return false;
    this.count(over, 'resting');
    const sinceLast = conduct.limit.admit('resting');
    if (sinceLast !== undefined) this.log.warn({ client, sinceLast }, `turned a client away: ${origin} has to rest`);
    return true;
  }

  /** A client from there was admitted. */
  forgive(origin: string): void {
    this.origins.delete(origin);
  }

  /** The rules have changed, so that nobody has to rest for what the old ones refused. */
  forgiveAll(): void {
    this.origins.clear();
  }

  /** How many clients were refused, over which interface and for what. */
  counts() {
    return [...this.counted.values()];
  }

  private count(over: Applicant['over'], reason: Attempt | 'resting'): void {
    const key = `${over} ${reason}`;
    const { count } = this.counted.get(key) ?? { count: 0 };
    this.counted.set(key, { over, reason, count: count + 1 });
  }

  private conductOf(origin: string): Conduct {
    const known = this.origins.get(origin);
    const conduct = known ?? {
      failures: 0,
      restMilliseconds: 0,
      restsUntil: this.now(),
      limit: new LogLimit(this.now),
    };
    // A map keeps the order in which its keys were added.
    this.origins.delete(origin);
    this.origins.set(origin, conduct);
    if (this.origins.size > MAX_ORIGINS) this.origins.delete(this.origins.keys().next().value!);
    return conduct;
  }

  private charge(origin: string, conduct: Conduct): void {
    const now = this.now();
    if (now > conduct.restsUntil + PAUSE_MILLISECONDS) Object.assign(conduct, { failures: 0, restMilliseconds: 0 });
    conduct.failures++;
    conduct.restsUntil = Math.max(conduct.restsUntil, now);
    if (conduct.failures <= FREE_FAILURES) return;
    const next = conduct.restMilliseconds === 0 ? FIRST_REST_MILLISECONDS : 2 * conduct.restMilliseconds;
    conduct.restMilliseconds = Math.min(next, LONGEST_REST_MILLISECONDS);
    conduct.restsUntil = now + conduct.restMilliseconds;
    const { failures } = conduct;
    const sinceLast = conduct.limit.admit('rest');
    if (sinceLast === undefined) return;
    const seconds = conduct.restMilliseconds / 1000;
    this.log.warn(
      { origin, failures, sinceLast },
      `${origin} rests for ${seconds} s after ${failures} refused attempts`,
    );
  }
}

/** A client of the control API. */
export function apiApplicant(address: string): Applicant {
  return { over: 'api', client: address, origin: originOf(address) };
}

/**
 * Whether the limits of one client hold for an origin. All users of this machine share its loopback addresses, so that one
 * of them could keep the others away. The same holds where the origin is not known.
 */
export function isOneClient(origin: string): boolean {
  return origin !== '' && origin !== 'unix' && !isLoopback(origin);
}

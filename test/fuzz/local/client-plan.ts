import type { Random } from '../../support/random.js';

export interface ClientRequest {
  readonly kind: 'read' | 'write' | 'zero' | 'trim' | 'flush' | 'cache' | 'status';
  readonly offset: number;
  readonly length: number;
  readonly requestOne: boolean;
}

export interface ClientPlan {
  /** Replies come in chunks. */
  readonly structured: boolean;
  /** Headers are extended, and so replies are in chunks too. */
  readonly extended: boolean;
  readonly withContexts: boolean;
  readonly requests: readonly ClientRequest[];
  /** Which of the server's messages is changed, counted from the greeting; undefined for none. */
  readonly spoiled: number | undefined;
  /** Whether bytes are changed or part of the data of a read is left out. */
  readonly lie: 'change' | 'leave-out';
  /** The seed for the server's messages and for the change. */
  readonly seed: number;
}

export const CLIENT_DISK_BYTES = 2 ** 20;
/** Greeting, extended headers, structured replies, contexts and GO. */
const HANDSHAKE_MESSAGES = 5;
const MAX_REQUESTS = 100;
const kinds = ['read', 'read', 'read', 'write', 'zero', 'trim', 'flush', 'cache', 'status', 'status'] as const;

export function planClient(random: Random): ClientPlan {
  const structured = !random.chance(4);
  const extended = structured && random.chance(2);
  const withContexts = structured && random.chance(2);
  const requests = Array.from({ length: 1 + random.below(MAX_REQUESTS) }, () => planRequest(random, withContexts));
  const messages = random.chance(4) ? HANDSHAKE_MESSAGES : HANDSHAKE_MESSAGES + requests.length;
  const spoiled = random.chance(3) ? random.below(messages) : undefined;
  const lie = structured && random.chance(4) ? 'leave-out' : 'change';
  return { structured, extended, withContexts, requests, spoiled, lie, seed: random.below(2 ** 32) };
}

function planRequest(random: Random, withContexts: boolean): ClientRequest {
  const length = 1 + random.below(random.chance(20) ? 65_536 : 2048);
  const offset = random.below(CLIENT_DISK_BYTES - length + 1);
  const kind = random.pick(kinds);
  return { kind: kind === 'status' && !withContexts ? 'read' : kind, offset, length, requestOne: random.chance(4) };
}

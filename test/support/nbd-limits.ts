import { GIB } from '../../src/base/units.js';
import type { NbdLimits } from '../../src/server/nbd-listener.js';

/** Limits that tests do not reach, without busy polling. */
export const ampleLimits: NbdLimits = {
  maxConnections: 16,
  handshakeTimeoutSeconds: 30,
  busyPollMicroseconds: 0,
  memoryBudgetBytes: GIB,
  threads: 1,
};

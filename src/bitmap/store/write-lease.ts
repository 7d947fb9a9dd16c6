import type { Change } from './key-value-store.js';

/** Permission to write, needed in addition to the region marks. */
export interface WriteLease {
  /** Whether writes are allowed now. Checked for every write. */
  readonly held: boolean;
  /** Prepares a commit that allows writes for a while. */
  renew(): Promise<Renewal>;
}

export interface Renewal {
  readonly changes: readonly Change[];
  /** Call once the changes are durable. */
  readonly granted: () => void;
}

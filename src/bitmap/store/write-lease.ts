import type { Change } from './key-value-store.js';

/** What has to hold, besides the marks, before a change may be made. */
export interface WriteLease {
  /** Changes may be made now. Looked at for every write. */
  readonly held: boolean;
  /** Prepares a commit that lets changes be made for a while. */
  renew(): Promise<Renewal>;
}

export interface Renewal {
  readonly changes: readonly Change[];
  /** To be called when they are durable. */
  readonly granted: () => void;
}

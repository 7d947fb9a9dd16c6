import type { Policy } from '../access/access.js';
import type { Refusals } from '../access/refusals.js';
import type { ReloadReport } from '../api/reload.js';
import type { Server } from '../api/server.js';
import type { Backups } from '../backup/backups.js';
import type { Log } from '../base/log.js';
import type { KeptExports } from '../export/kept-exports.js';
import type { ExportRegistry } from '../export/registry.js';
import type { EventFeed } from '../watch/event-feed.js';
import type { EventHistory } from '../watch/event-history.js';
import type { Hooks } from '../watch/hooks/hooks.js';
import type { Thresholds } from '../watch/thresholds/thresholds.js';
import type { SignInCodes } from './admission/sign-in-codes.js';
import type { TokenStore } from './admission/token-store.js';

/** The parts of the server that the control API uses. */
export interface ControlHost {
  readonly exports: ExportRegistry;
  /** Those that are served again after a restart. */
  readonly kept: KeptExports;
  /** What callers may do. */
  readonly policy: Policy;
  readonly backups: Backups;
  readonly events: EventFeed;
  readonly history: EventHistory;
  readonly hooks: Pick<Hooks, 'counts'>;
  readonly thresholds: Pick<Thresholds, 'list' | 'add' | 'remove'>;
  readonly tokens: TokenStore;
  readonly signInCodes: SignInCodes;
  readonly refusals: Refusals;
  readonly log: Log;
  /** Reads the configuration again; `by` says who asks. @throws CodedError; nothing has changed then */
  readonly reload: (by: string) => Promise<ReloadReport>;
  readonly describeServer: () => ServerFacts;
}

/** The description of the server, without its exports. */
type OperatorFacts = 'stateDirectory' | 'connections' | 'pid' | 'memory';
export type ServerFacts = Omit<Server, 'exports'> & Required<Pick<Server, OperatorFacts>>;

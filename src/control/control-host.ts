import type { Static } from '@fastify/type-provider-typebox';
import type { Backups } from '../backup/backups.js';
import type { Log } from '../base/log.js';
import type { ExportRegistry } from '../export/registry.js';
import type { EventFeed } from './event-feed.js';
import type { Server } from './schemas/server.js';

/** What the control API works on. */
export interface ControlHost {
  readonly exports: ExportRegistry;
  readonly backups: Backups;
  readonly events: EventFeed;
  readonly log: Log;
  readonly describeServer: () => ServerFacts;
}

/** The server, but for its exports. */
export type ServerFacts = Omit<Static<typeof Server>, 'exports'>;

import type { Cleanup } from '../base/cleanup.js';
import type { Log } from '../base/log.js';
import { EventFeed } from '../watch/event-feed.js';
import { EventHistory } from '../watch/event-history.js';
import { logEvents } from '../watch/event-log.js';
import { Hooks } from '../watch/hooks/hooks.js';
import type { ServerConfig } from './config.js';
import type { Stopping } from './stopping.js';

/** The events of a server, and those who follow them besides the log. */
export interface ServerEvents {
  readonly feed: EventFeed;
  readonly history: EventHistory;
  readonly hooks: Hooks;
}

interface EventsHost {
  readonly log: Log;
  readonly stopping: Stopping;
  /** Closes them. */
  readonly cleanup: Cleanup;
}

/** `directory` is where events are kept; undefined: in memory. @throws CodedError CONFIG_INVALID */
export async function openEvents(
  { hooks: specs }: Pick<ServerConfig, 'hooks'>,
  directory: string | undefined,
  { log, stopping, cleanup }: EventsHost,
): Promise<ServerEvents> {
  const history = await EventHistory.open(directory, log);
  cleanup.defer(() => stopping.inTime('events could not be written', history.close()));
  const feed = new EventFeed(history.lastId);
  logEvents(feed, log);
  history.follow(feed);
  const hooks = await Hooks.open({ specs, events: feed, history, directory, log });
  cleanup.defer(() => hooks.close());
  return { feed, history, hooks };
}

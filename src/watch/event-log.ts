import type { EventType } from '../api/values.js';
import type { Log } from '../base/log.js';
import type { EventFeed } from './event-feed.js';
import type { ServerEvent } from './happening.js';

type Level = 'info' | 'warn' | 'error';

const lines: Readonly<Record<EventType, readonly [Level, string]>> = {
  'server-started': ['info', 'tidemark is serving'],
  'server-stopping': ['info', 'stopping: finishing the requests in flight'],
  'config-reloaded': ['info', 'reloaded the configuration'],
  'config-refused': ['error', 'kept the old configuration, because the new one cannot be used'],
  'export-added': ['info', 'an export was added'],
  'export-removed': ['info', 'an export was removed'],
  'export-resized': ['info', 'an export was resized'],
  'bitmaps-changed': ['info', 'bitmaps were changed'],
  'backup-begun': ['info', 'a backup has begun'],
  'backup-committed': ['info', 'a backup was committed'],
  'backup-aborted': ['warn', 'a backup was aborted'],
  'backup-scratch-filling': ['warn', 'the scratch space of a backup is filling up'],
  'threshold-crossed': ['warn', 'a threshold was crossed'],
  'threshold-cleared': ['info', 'a threshold is no longer crossed'],
  'hook-failed': ['error', 'a hook could not be told of an event'],
};

/** Writes one line into the log for each event. Returns the function that stops it. */
export function logEvents(feed: EventFeed, log: Log): () => void {
  return feed.follow((event) => {
    const { type, at: _, ...fields } = event;
    log[levelOf(event)]({ event: type, ...fields }, lines[type][1]);
  });
}

function levelOf(event: ServerEvent): Level {
  if (event.type === 'config-reloaded' && event.notApplied.length > 0) return 'warn';
  const isIntended = event.type === 'backup-aborted' && ['asked', 'server-stopped'].includes(event.reason);
  return isIntended ? 'info' : lines[event.type][0];
}

import { expect, test } from 'vitest';
import { eventTypes } from '../../src/api/values.js';
import { EventFeed } from '../../src/watch/event-feed.js';
import { logEvents } from '../../src/watch/event-log.js';
import type { Happening } from '../../src/watch/happening.js';
import { keepLog } from '../support/log-lines.js';

test('each event is one line in the log, with its type, its id and all its facts', () => {
  const feed = new EventFeed(40);
  const { log, lines } = keepLog();
  logEvents(feed, log);
  for (const type of eventTypes) feed.publish({ type, export: 'disk', by: 'me' } as Happening);
  expect(lines.map(({ fields }) => fields)).toEqual(
    eventTypes.map((type, i) => ({ event: type, id: 41 + i, export: 'disk', by: 'me' })),
  );
  expect(new Set(lines.map(({ message }) => message)).size).toBe(eventTypes.length);
});

test.each([
  ['asked', 'info'],
  ['server-stopped', 'info'],
  ['expired', 'warn'],
  ['scratch-full', 'warn'],
] as const)('a backup that was aborted with the reason %s is at level %s', (reason, level) => {
  const feed = new EventFeed();
  const { log, lines } = keepLog();
  logEvents(feed, log);
  feed.publish({ type: 'backup-aborted', backup: 'x', bitmap: 'n', exports: ['a'], reason, detail: '', seconds: 1 });
  expect(lines).toMatchObject([{ level, message: 'a backup was aborted' }]);
});

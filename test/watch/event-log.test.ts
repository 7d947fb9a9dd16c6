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
  const facts = { export: 'disk', by: 'me', notApplied: [] };
  for (const type of eventTypes) feed.publish({ type, ...facts } as Happening);
  expect(lines.map(({ fields }) => fields)).toEqual(
    eventTypes.map((type, i) => ({ event: type, id: 41 + i, ...facts })),
  );
  expect(new Set(lines.map(({ message }) => message)).size).toBe(eventTypes.length);
});

test('a reload that could not apply everything is a warning', () => {
  const feed = new EventFeed();
  const { log, lines } = keepLog();
  logEvents(feed, log);
  feed.publish({ type: 'config-reloaded', applied: ['export a: added'], notApplied: [] });
  feed.publish({
    type: 'config-reloaded',
    applied: [],
    notApplied: [{ setting: 'threads', why: 'it needs a restart' }],
  });
  expect(lines.map(({ level }) => level)).toEqual(['info', 'warn']);
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

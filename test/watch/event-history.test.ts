import { appendFileSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { silentLog } from '../../src/base/log.js';
import { MIB } from '../../src/base/units.js';
import { EventFeed } from '../../src/watch/event-feed.js';
import { EventHistory } from '../../src/watch/event-history.js';
import { keepLog } from '../support/log-lines.js';
import { scratchFolder } from '../support/scratch-folder.js';

/** A history, and the feed that it follows, as in one run of a server. */
async function run(folder: string | undefined, log = silentLog) {
  const history = await EventHistory.open(folder, log);
  const feed = new EventFeed(history.lastId);
  history.follow(feed);
  const add = (...names: string[]) => {
    for (const name of names) feed.publish({ type: 'export-added', export: name });
  };
  const names = () => [...history.query({})].map(({ event }) => 'export' in event && event.export);
  const ids = () => [...history.query({})].map(({ event }) => event.id);
  return { history, feed, add, names, ids };
}

test('events are kept over restarts, and ids go on', async () => {
  const folder = scratchFolder();
  const first = await run(folder);
  first.add('a', 'b');
  await first.history.close();
  const second = await run(folder);
  expect(second.names()).toEqual(['b', 'a']);
  second.add('c');
  await second.history.close();
  const third = await run(folder);
  expect(third.names()).toEqual(['c', 'b', 'a']);
  expect(third.ids()).toEqual([3, 2, 1]);
  expect([...third.history.after(1)].map(({ id }) => id)).toEqual([2, 3]);
  expect(statSync(join(folder, 'events.jsonl')).mode & 0o777).toBe(0o600);
});

test('without a folder, events are in memory only', async () => {
  const { add, names, history } = await run(undefined);
  add('a');
  await history.close();
  expect(names()).toEqual(['a']);
});

test('a torn last line, and lines that make no sense, are skipped', async () => {
  const folder = scratchFolder();
  const first = await run(folder);
  first.add('a');
  await first.history.close();
  const path = join(folder, 'events.jsonl');
  appendFileSync(path, 'null\n{"id":"7"}\n\u0000\n{"id":2,"type":"export-add');
  const second = await run(folder);
  expect(second.names()).toEqual(['a']);
  second.add('b');
  await second.history.close();
  expect((await run(folder)).names()).toEqual(['b', 'a']);
});

test('an event of a later version is left out, but its id is not used again', async () => {
  const folder = scratchFolder();
  writeFileSync(join(folder, 'events.jsonl'), '{"id":41,"type":"moon-full","at":"2030-01-01T00:00:00.000Z"}\n');
  const { names, ids, add, history } = await run(folder);
  expect(names()).toEqual([]);
  add('a');
  await history.close();
  expect(ids()).toEqual([42]);
});

test('two files of some MiB hold the latest, and memory holds 2000 events', async () => {
  const folder = scratchFolder();
  const { add, history, ids } = await run(folder);
  const name = 'x'.repeat(10_000);
  for (let i = 0; i < 1000; i++) {
    add(name);
    await history.close();
  }
  const sizes = ['events.jsonl', 'events.1.jsonl'].map((file) => statSync(join(folder, file)).size);
  expect(Math.max(...sizes)).toBeLessThan(4.1 * MIB);
  expect(Math.max(...sizes)).toBeGreaterThan(4 * MIB);
  expect(ids().length * 10_000).toBeLessThan(4 * MIB);
  const again = await run(folder);
  expect(again.ids()).toEqual(ids());
  for (let i = 0; i < 3000; i++) add('short');
  expect(ids()).toHaveLength(2000);
  expect(ids()[0]).toBe(4000);
  await history.close();
});

test('a file that cannot be written costs one warning, and the events stay in memory', async () => {
  const folder = scratchFolder();
  mkdirSync(join(folder, 'events.jsonl'));
  const { log, lines } = keepLog();
  const { add, names, history } = await run(folder, log);
  add('a', 'b');
  await history.close();
  expect(names()).toEqual(['b', 'a']);
  expect(lines.map(({ level, message }) => [level, message])).toEqual([
    ['warn', expect.stringContaining('the history of events is in memory only')],
  ]);
});

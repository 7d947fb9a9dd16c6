import { type IncomingMessage, request } from 'node:http';
import { join } from 'node:path';
import { describe, expect, expectTypeOf, onTestFinished, test, vi } from 'vitest';
import type { Event, EventPage } from '../../src/api/event.js';
import { ControlServer } from '../../src/control/control-server.js';
import type { ServerEvent } from '../../src/watch/happening.js';
import { controlApiOf, controlHostOver } from '../support/control-api.js';
import { memoryRegistry } from '../support/memory-server.js';
import { scratchFolder } from '../support/scratch-folder.js';

/** A control server on a unix socket, and a feed that counts its followers. */
async function startControl() {
  const path = join(scratchFolder(), 'control.sock');
  const exports = await memoryRegistry([{ name: 'disk' }]);
  const host = await controlHostOver(exports);
  const { events } = host;
  let followers = 0;
  const follow = events.follow.bind(events);
  vi.spyOn(events, 'follow').mockImplementation((listener) => {
    const unfollow = follow(listener);
    followers++;
    return () => {
      followers--;
      unfollow();
    };
  });
  const control = new ControlServer(host);
  await control.listenUnix(path);
  onTestFinished(() => control.close());
  return { path, events, control, followers: () => followers };
}

/** Resolves when the answer begins. */
function follow(socketPath: string, lastId?: string): Promise<IncomingMessage> {
  const headers = lastId === undefined ? {} : { 'last-event-id': lastId };
  return new Promise((resolve, reject) => {
    const asking = request({ socketPath, path: '/v1/events', headers }, resolve).once('error', reject);
    onTestFinished(() => void asking.destroy());
    asking.end();
  });
}

/** Reads up to the end of the event that contains `last`. */
async function readUntil(stream: IncomingMessage, last: string): Promise<string> {
  let text = '';
  for await (const part of stream.setEncoding('utf8').iterator({ destroyOnReturn: false })) {
    text += part;
    if (text.includes(last) && text.endsWith('\n\n')) break;
  }
  return text;
}

test('are sent when they happen, as server-sent events', async () => {
  const { path, events } = await startControl();
  events.publish({ type: 'export-added', export: 'before anybody listened' });
  const stream = await follow(path);
  expect(stream.statusCode).toBe(200);
  expect(stream.headers).toMatchObject({ 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
  expect(await readUntil(stream, ': following')).toBe(': following\n\n');

  events.publish({ type: 'export-resized', export: 'line\nbreak' });
  const actions = [{ type: 'bitmap-clear', bitmap: 'nightly' }];
  events.publish({ type: 'bitmaps-changed', export: 'disk', actions });
  const [first, second] = (await readUntil(stream, 'bitmaps-changed')).trim().split('\n\n');
  expect(first).toMatch(/^id: 2\nevent: export-resized\ndata: .*$/);
  expect(JSON.parse(first!.split('data: ')[1]!)).toMatchObject({ type: 'export-resized', export: 'line\nbreak' });
  const told = JSON.parse(second!.split('data: ')[1]!);
  expect(told).toEqual({ id: 3, type: 'bitmaps-changed', export: 'disk', actions, at: told.at });
  expect(new Date(told.at).toISOString()).toBe(told.at);
});

test('reach every follower, and the server forgets a follower that is gone', async () => {
  const { path, events, followers } = await startControl();
  const [one, other] = await Promise.all([follow(path), follow(path)]);
  await expect.poll(followers).toBe(2);
  one.destroy();
  await expect.poll(followers).toBe(1);
  events.publish({ type: 'export-added', export: 'disk' });
  expect(await readUntil(other, 'export-added')).toContain('event: export-added\n');
  other.destroy();
  await expect.poll(followers).toBe(0);
});

test('end when the server stops', async () => {
  const { path, control, followers } = await startControl();
  const stream = await follow(path);
  const ended = new Promise((resolve) => stream.once('error', resolve).once('close', resolve));
  stream.resume();
  await control.close();
  await ended;
  await expect.poll(followers).toBe(0);
});

test('a follower that does not read is cut off', async () => {
  const { path, events, followers } = await startControl();
  const answer = await follow(path);
  answer.pause();
  await expect.poll(followers).toBe(1);
  const actions = Array.from({ length: 1000 }, () => ({ type: 'clear', bitmap: 'x'.repeat(100) }));
  for (let i = 0; i < 100; i++) events.publish({ type: 'bitmaps-changed', export: 'disk', actions });
  await expect.poll(followers).toBe(0);
});

test('that a follower has missed are sent first, each once and in order, however large they are', async () => {
  const { path, events } = await startControl();
  const actions = Array.from({ length: 1000 }, () => ({ type: 'clear', bitmap: 'x'.repeat(100) }));
  for (let i = 0; i < 20; i++) events.publish({ type: 'bitmaps-changed', export: 'disk', actions });
  const stream = await follow(path, '5');
  // While the follower reads, more happens.
  setTimeout(() => events.publish({ type: 'export-added', export: 'disk' }), 5);
  const text = await readUntil(stream, 'event: export-added');
  expect(idsIn(text)).toEqual(Array.from({ length: 16 }, (_, i) => i + 6));
});

test.each([
  ['a number that no event has', '99', [1, 2, 3]],
  ['something that is not a number', 'x', [3]],
])('that a follower has missed begin after its last one; with %s', async (_what, lastId, ids) => {
  const { path, events, followers } = await startControl();
  for (const name of ['a', 'b']) events.publish({ type: 'export-added', export: name });
  const stream = await follow(path, lastId);
  await expect.poll(followers).toBe(1);
  events.publish({ type: 'export-removed', export: 'a' });
  expect(idsIn(await readUntil(stream, 'export-removed'))).toEqual(ids);
});

function idsIn(text: string): number[] {
  return [...text.matchAll(/^id: (\d+)$/gm)].map(([, id]) => Number(id));
}

describe('the history', () => {
  async function withEvents() {
    const host = await controlHostOver(await memoryRegistry([{ name: 'disk' }]));
    const { ask } = await controlApiOf(host);
    for (const name of ['a', 'b', 'a', 'c']) host.events.publish({ type: 'export-added', export: name, by: 'me' });
    host.events.publish({ type: 'export-removed', export: 'a' });
    const page = async (query = '') => (await ask('GET', `/v1/events/history${query}`)).document as EventPage;
    return { ask, page };
  }

  test('has the latest events, newest first, with all that they tell', async () => {
    const { page } = await withEvents();
    const { events, next } = await page();
    expect(next).toBeNull();
    expect(events.map(({ id }) => id)).toEqual([5, 4, 3, 2, 1]);
    expect(events[4]).toEqual({ id: 1, type: 'export-added', export: 'a', by: 'me', at: expect.any(String) });
  });

  test('is read in pages, and by what an event is about', async () => {
    const { page } = await withEvents();
    const ids = async (query: string) => (await page(query)).events.map(({ id }) => id);
    expect(await page('?limit=2')).toMatchObject({ events: [{ id: 5 }, { id: 4 }], next: 4 });
    expect(await page('?limit=2&before=4')).toMatchObject({ events: [{ id: 3 }, { id: 2 }], next: 2 });
    expect(await page('?limit=2&before=2')).toMatchObject({ events: [{ id: 1 }], next: null });
    expect(await ids('?after=3')).toEqual([5, 4]);
    expect(await ids('?after=5')).toEqual([]);
    expect(await ids('?export=a')).toEqual([5, 3, 1]);
    expect(await ids('?export=a&type=export-removed')).toEqual([5]);
  });

  test.each(['?limit=0', '?limit=1.5', '?type=nothing', '?after=-1', '?since=1'])('refuses %s', async (query) => {
    const { ask } = await withEvents();
    expect(await ask('GET', `/v1/events/history${query}`)).toMatchObject({ status: 400 });
  });

  test('a page of large events is short', async () => {
    const host = await controlHostOver(await memoryRegistry([{ name: 'disk' }]));
    const { ask } = await controlApiOf(host);
    const actions = Array.from({ length: 1000 }, () => ({ type: 'clear', bitmap: 'x'.repeat(100) }));
    for (let i = 0; i < 10; i++) host.events.publish({ type: 'bitmaps-changed', export: 'disk', actions });
    const { events, next } = (await ask('GET', '/v1/events/history')).document as EventPage;
    expect(events.map(({ id }) => id)).toEqual([10, 9, 8]);
    expect(next).toBe(8);
  });

  test('describes every field that an event can have', () => {
    type FieldsOf<One> = One extends unknown ? keyof One : never;
    expectTypeOf<FieldsOf<ServerEvent>>().toExtend<keyof Event>();
  });
});

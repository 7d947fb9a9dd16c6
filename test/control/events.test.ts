import { type IncomingMessage, request } from 'node:http';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { ControlServer } from '../../src/control/control-server.js';
import { EventFeed } from '../../src/watch/event-feed.js';
import { controlHostOver } from '../support/control-api.js';
import { memoryRegistry } from '../support/memory-server.js';
import { scratchFolder } from '../support/scratch-folder.js';

/** A control server on a unix socket, and a feed that counts its followers. */
async function startControl() {
  const path = join(scratchFolder(), 'control.sock');
  const exports = await memoryRegistry([{ name: 'disk' }]);
  const events = new EventFeed();
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
  const control = new ControlServer({ ...(await controlHostOver(exports)), events });
  await control.listenUnix(path);
  onTestFinished(() => control.close());
  return { path, events, control, followers: () => followers };
}

/** Resolves when the answer begins. */
function follow(socketPath: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const asking = request({ socketPath, path: '/v1/events' }, resolve).once('error', reject);
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
  expect(first).toMatch(/^event: export-resized\ndata: .*$/);
  expect(JSON.parse(first!.split('data: ')[1]!)).toMatchObject({ type: 'export-resized', export: 'line\nbreak' });
  const told = JSON.parse(second!.split('data: ')[1]!);
  expect(told).toEqual({ type: 'bitmaps-changed', export: 'disk', actions, at: told.at });
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

import { expect, test } from 'vitest';
import { ApiClient } from '../../src/page/api-client.js';
import { Store } from '../../src/page/store.js';

/** A server whose answers the test chooses, by path. */
function newStore() {
  const answers: Record<string, { status: number; body: object }> = {};
  const asked: string[] = [];
  const write = { operations: 0, bytes: 0, failed: 0, invalid: 0, seconds: 0 };
  const answer = (path: string, body: object, status = 200) => {
    answers[path] = { status, body };
  };
  answer('/v1/server', { version: '1', pid: 1 });
  answer('/v1/thresholds', { thresholds: [] });
  answer('/v1/exports', { exports: [{ name: 'vm1' }], unserved: [] });
  answer('/v1/clients', { clients: [] });
  answer('/v1/statistics', { exports: [{ name: 'vm1', commands: { write } }] });
  answer('/v1/backups', { backups: [] });
  answer('/v1/events/history?limit=50', { events: [{ id: 9 }, { id: 8 }], next: 8 });
  answer('/v1/events/history?limit=50&before=8', { events: [{ id: 3 }], next: null });
  const send = async (path: string, { headers }: { headers: Record<string, string> }) => {
    asked.push(`${path} ${headers.authorization}`);
    const { status, body } = answers[path]!;
    return new Response(JSON.stringify(body), { status });
  };
  const refused: number[] = [];
  const clock = { now: 0 };
  const store = new Store({
    client: new ApiClient(send as unknown as typeof fetch, 'secret'),
    isVisible: () => true,
    onRefused: () => refused.push(1),
    now: () => clock.now,
  });
  return { store, answer, asked, refused, clock, write };
}

test('a poll asks with the token, and its listeners see what came', async () => {
  const { store, asked } = newStore();
  let told = 0;
  store.subscribe(() => told++);
  await store.poll();
  expect(asked).toEqual(
    ['server', 'exports', 'statistics', 'clients', 'backups', 'thresholds'].map((path) => `/v1/${path} Bearer secret`),
  );
  expect(store.view).toMatchObject({ server: { version: '1' }, exports: [{ name: 'vm1' }] });
  expect(told).toBe(1);
});

test('two polls make a rate', async () => {
  const { store, clock, write } = newStore();
  await store.poll();
  write.bytes = 4096;
  clock.now = 2000;
  await store.poll();
  expect(store.view.rates.get('vm1')).toMatchObject([{ writtenBytes: 2048 }]);
});

test('a fault is shown with what was known before, until the server answers again', async () => {
  const { store, answer } = newStore();
  await store.poll();
  answer('/v1/exports', { detail: 'the server is stopping' }, 503);
  await store.poll();
  expect(store.view).toMatchObject({ fault: 'the server is stopping', exports: [{ name: 'vm1' }] });
  answer('/v1/exports', { exports: [], unserved: [] });
  await store.poll();
  expect(store.view).not.toHaveProperty('fault');
  expect(store.view.exports).toEqual([]);
});

test('a token that is not accepted ends the session', async () => {
  const { store, answer, refused } = newStore();
  answer('/v1/server', { detail: 'no' }, 401);
  await store.poll();
  expect(refused).toEqual([1]);
});

test('active backups come first, then the latest', async () => {
  const { store, answer } = newStore();
  const backups = [
    { id: 'a', state: 'committed', startedAt: '2026-01-01' },
    { id: 'b', state: 'active', startedAt: '2026-01-02' },
    { id: 'c', state: 'aborted', startedAt: '2026-01-03' },
  ];
  answer('/v1/backups', { backups });
  await store.poll();
  expect(store.view.backups.map(({ id }) => id)).toEqual(['b', 'c', 'a']);
});

test('older events come after those that are known, page by page', async () => {
  const { store } = newStore();
  await store.loadOlderEvents();
  expect(store.view.olderThan).toBe(8);
  await store.loadOlderEvents();
  expect(store.view.events.map(({ id }) => id)).toEqual([9, 8, 3]);
  expect(store.view.olderThan).toBe(null);
});

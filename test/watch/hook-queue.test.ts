import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type Log, silentLog } from '../../src/base/log.js';
import type { ServerEvent } from '../../src/watch/happening.js';
import { DeliveryError } from '../../src/watch/hooks/delivery.js';
import { HookQueue } from '../../src/watch/hooks/hook-queue.js';
import { keepLog } from '../support/log-lines.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const event = (id: number) => ({ id, type: 'export-added', export: 'disk', at: '' }) as ServerEvent;

interface Choices {
  readonly kind?: 'webhook' | 'command';
  readonly tries?: number;
  readonly log?: Log;
  readonly doneThrough?: number;
  readonly timeoutSeconds?: number;
}

/** A queue whose deliveries end when the test says so. */
function queueOf({
  kind = 'webhook',
  tries = 8,
  log = silentLog,
  doneThrough = 0,
  timeoutSeconds = 3600,
}: Choices = {}) {
  const begun: { id: number; end: (error?: Error) => void }[] = [];
  const failures: [number, number, string][] = [];
  const queue = new HookQueue(
    {
      name: 'pager',
      kind,
      timeoutSeconds,
      tries,
      deliver: ({ id }, signal) =>
        new Promise((resolve, reject) => {
          signal.addEventListener('abort', () => reject(new Error(String(signal.reason))));
          begun.push({ id, end: (error) => (error ? reject(error) : resolve()) });
        }),
      onFailure: ({ id }, tried, detail) => void failures.push([id, tried, detail]),
      onFinished: () => {},
    },
    doneThrough,
    log,
  );
  return { queue, begun, failures, ids: () => begun.map(({ id }) => id) };
}

const settled = () => vi.advanceTimersByTimeAsync(0);

test.each([
  ['webhook', 4],
  ['command', 1],
] as const)('of a %s %i are under way at a time, in order', async (kind, most) => {
  const { queue, begun, ids } = queueOf({ kind });
  for (let id = 1; id <= 6; id++) queue.add(event(id));
  expect(ids()).toEqual([1, 2, 3, 4, 5, 6].slice(0, most));
  begun[0]!.end();
  await settled();
  expect(ids()).toEqual([1, 2, 3, 4, 5, 6].slice(0, most + 1));
  expect(queue.counts()).toEqual({ delivered: 1, failed: 0, dropped: 0, queued: 5 });
});

test('what fails is tried again after longer and longer waits, then given up', async () => {
  const { queue, begun, failures } = queueOf({ tries: 4 });
  queue.add(event(1));
  for (const [i, seconds] of [1, 5, 30].entries()) {
    begun[i]!.end(new Error(`no ${i}`));
    await vi.advanceTimersByTimeAsync(seconds * 0.79 * 1000);
    expect(begun).toHaveLength(i + 1);
    await vi.advanceTimersByTimeAsync(seconds * 0.42 * 1000);
    expect(begun).toHaveLength(i + 2);
  }
  expect(failures).toEqual([]);
  begun[3]!.end(new Error('no 3'));
  await settled();
  expect(failures).toEqual([[1, 4, 'no 3']]);
  expect(queue.counts()).toEqual({ delivered: 0, failed: 1, dropped: 0, queued: 0 });
  expect(vi.getTimerCount()).toBe(0);
});

test('what waits for its next try does not hold up others', async () => {
  const { queue, begun, ids } = queueOf({ kind: 'command' });
  queue.add(event(1));
  queue.add(event(2));
  begun[0]!.end(new Error('no'));
  await settled();
  expect(ids()).toEqual([1, 2]);
});

test('a failure that is final is not tried again', async () => {
  const { queue, begun, failures } = queueOf();
  queue.add(event(1));
  begun[0]!.end(new DeliveryError('gone', true));
  await settled();
  expect(failures).toEqual([[1, 1, 'gone']]);
});

test('a try that takes too long is ended', async () => {
  const { queue, failures } = queueOf({ tries: 1, timeoutSeconds: 10 });
  queue.add(event(1));
  await vi.advanceTimersByTimeAsync(10_000);
  expect(failures).toEqual([[1, 1, 'it took more than 10 s']]);
});

test('beyond 1000 events the oldest that is not under way is dropped, which is said and counted', () => {
  const { log, lines } = keepLog();
  const { queue, ids } = queueOf({ log });
  for (let id = 1; id <= 1010; id++) queue.add(event(id));
  expect(queue.counts()).toEqual({ delivered: 0, failed: 0, dropped: 10, queued: 1000 });
  expect(ids()).toEqual([1, 2, 3, 4]);
  expect(lines).toMatchObject([{ level: 'warn', fields: { hook: 'pager', sinceLast: 0 } }]);
});

describe('what is finished', () => {
  test('counts up to the oldest event that is not', async () => {
    const { queue, begun } = queueOf({ doneThrough: 6 });
    expect(queue.doneThrough).toBe(6);
    queue.add(event(7));
    queue.skip(event(8));
    queue.add(event(9));
    expect(queue.doneThrough).toBe(6);
    begun[1]!.end();
    await settled();
    expect(queue.doneThrough).toBe(6);
    begun[0]!.end();
    await settled();
    expect(queue.doneThrough).toBe(9);
  });

  test('does not include what the end of the server has cut short', async () => {
    const { queue, begun, failures } = queueOf();
    for (let id = 1; id <= 6; id++) queue.add(event(id));
    const closed = queue.close();
    begun[0]!.end();
    await vi.advanceTimersByTimeAsync(2100);
    await closed;
    expect(queue.doneThrough).toBe(1);
    expect(begun).toHaveLength(4);
    expect(failures).toEqual([]);
  });
});

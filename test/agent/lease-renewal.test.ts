import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type Backup, NoAnswerError } from '../../src/agent/backup-service.js';
import { Lease } from '../../src/agent/lease-renewal.js';
import { ScriptedBackups } from '../support/scripted-backups.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

async function begin(changes: Partial<Backup> = {}) {
  const service = new ScriptedBackups(() => 'nbd://x');
  service.ttlSeconds = 100;
  const backup = await service.begin({ exports: ['a', 'b'], bitmap: 'n', full: false, ttlSeconds: 100 });
  return { service, lease: new Lease(service, { ...backup, ...changes }) };
}

test('the lease is renewed four times in its time to live', async () => {
  const { service, lease } = await begin();
  await vi.advanceTimersByTimeAsync(100_000);
  lease.stop();
  await vi.advanceTimersByTimeAsync(100_000);
  expect(service.calls.filter((call) => call.startsWith('renew'))).toHaveLength(4);
});

test('every two seconds the server is told what is new', async () => {
  const { service, lease } = await begin();
  lease.report('a', 1, 10);
  lease.report('a', 2, 10);
  lease.report('b', 5, 5);
  await vi.advanceTimersByTimeAsync(4000);
  expect(service.progress).toEqual([
    { export: 'a', doneBytes: 2, totalBytes: 10 },
    { export: 'b', doneBytes: 5, totalBytes: 5 },
  ]);
  lease.report('a', 3, 10);
  await vi.advanceTimersByTimeAsync(2000);
  expect(service.progress.at(-1)).toEqual({ export: 'a', doneBytes: 3, totalBytes: 10 });
  lease.stop();
});

test('a server that does not accept progress is not told', async () => {
  const { service, lease } = await begin({ accepts: [] });
  lease.report('a', 1, 10);
  await vi.advanceTimersByTimeAsync(4000);
  expect(service.calls.filter((call) => call.startsWith('renew'))).toEqual([]);
  lease.stop();
});

test('a report that fails ends nothing, a renewal that is refused does', async () => {
  const { service, lease } = await begin();
  service.onRenew = () => {
    throw new Error('the backup has ended');
  };
  lease.report('a', 1, 10);
  await vi.advanceTimersByTimeAsync(2000);
  expect(lease.lost.aborted).toBe(false);
  await vi.advanceTimersByTimeAsync(25_000);
  expect(lease.lost.reason).toEqual(new Error('the backup has ended'));
  lease.stop();
});

test('a server that does not answer may come back', async () => {
  const { service, lease } = await begin();
  service.onRenew = () => {
    throw new NoAnswerError(new Error('no answer'));
  };
  await vi.advanceTimersByTimeAsync(30_000);
  expect(lease.lost.aborted).toBe(false);
  lease.stop();
});

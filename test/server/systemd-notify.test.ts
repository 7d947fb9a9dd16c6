import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { MIB } from '../../src/base/units.js';
import { SystemdNotify } from '../../src/server/systemd-notify.js';
import { DatagramReceiver } from '../support/datagram-receiver.js';
import { makeImage } from '../support/image.js';
import { keepLog } from '../support/log-lines.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { tidemarkProgram } from '../support/tidemark.js';

function startNotify(env: NodeJS.ProcessEnv) {
  const { log, lines } = keepLog();
  const notify = new SystemdNotify(env, log);
  onTestFinished(() => notify.close());
  return { notify, lines };
}

test.each([
  ['a path', () => join(scratchFolder(), 'notify')],
  ['an abstract name', () => `@tidemark-test-${process.pid}`],
])('a server notifies systemd on %s when it starts, while it runs, and when it stops', async (_what, address) => {
  const manager = new DatagramReceiver(address());
  const folder = scratchFolder();
  const places = ['--unix', join(folder, 'nbd.sock'), '--state', join(folder, 'state')];
  const server = spawn(process.execPath, [tidemarkProgram, 'serve', '--export', `disk=${makeImage(MIB)}`, ...places], {
    env: { ...process.env, NOTIFY_SOCKET: manager.address, WATCHDOG_USEC: '60000' },
    stdio: 'ignore',
  });
  const gone = once(server, 'exit');
  onTestFinished(() => void server.kill('SIGKILL'));
  const signsOfLife = () => manager.messages().filter((message) => message === 'WATCHDOG=1').length;
  await expect.poll(signsOfLife, { timeout: 30_000 }).toBeGreaterThan(2);
  server.kill();
  expect(await gone).toEqual([0, null]);
  expect(manager.messages()[0]).toBe('READY=1');
  expect(manager.messages().filter((message) => message !== 'WATCHDOG=1')).toEqual(['READY=1', 'STOPPING=1']);
});

test.each([
  [
    'the server gets three signs of life in each interval',
    `${process.pid}`,
    ['READY=1', 'WATCHDOG=1', 'WATCHDOG=1', 'WATCHDOG=1'],
  ],
  ['another process gets none', '1', ['READY=1']],
])('a watchdog for %s', (_what, pid, messages) => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const manager = new DatagramReceiver(join(scratchFolder(), 'notify'));
  const { notify } = startNotify({ NOTIFY_SOCKET: manager.address, WATCHDOG_USEC: '3000', WATCHDOG_PID: pid });
  notify.ready();
  vi.advanceTimersByTime(3);
  expect(manager.messages()).toEqual(messages);
});

test('a missing service manager causes a warning, not a failure', () => {
  const { notify, lines } = startNotify({ NOTIFY_SOCKET: join(scratchFolder(), 'nobody') });
  notify.ready();
  expect(lines).toMatchObject([{ level: 'warn', message: 'the service manager could not be notified' }]);
});

test('without a service manager nothing is sent', () => {
  const { notify, lines } = startNotify({});
  notify.ready();
  notify.stopping();
  expect(lines).toEqual([]);
});

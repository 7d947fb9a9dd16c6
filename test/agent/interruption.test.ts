import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { BackupService } from '../../src/agent/backup-service.js';
import { pull } from '../../src/agent/pull.js';
import { openRestoreTarget } from '../../src/agent/restore-target.js';
import { ControlClient } from '../../src/cli/control-client.js';
import { unixPlace } from '../../src/cli/control-place.js';
import { HttpBackupService } from '../../src/cli/http-backup-service.js';
import { NbdClient } from '../../src/client/nbd-client.js';
import type { NbdTarget } from '../../src/client/nbd-uri.js';
import { freePort } from '../support/free-port.js';
import { startMemoryServer } from '../support/memory-server.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { ScriptedBackups } from '../support/scripted-backups.js';
import { DONE, type ScriptedPeer, startScriptedServer, statusChunk } from '../support/scripted-server.js';
import { tidemarkProgram } from '../support/tidemark.js';

/** The longest time that a user should wait after an interrupt. */
const LIMIT_MILLISECONDS = 1000;
const BLOCK_STATUS = 7;
const READ = 0;
const WRITE = 1;
const contexts = { 'base:allocation': 1, 'qemu:dirty-bitmap:nightly': 2 };

const uriOf = ({ address, exportName }: NbdTarget) =>
  `nbd+unix:///${exportName}?socket=${(address as { socketPath: string }).socketPath}`;

/** A server that answers up to some point, and is silent from then on. `silent` resolves at that point. */
async function startSilentServer(script: (peer: ScriptedPeer, beSilent: () => Promise<void>) => Promise<void>) {
  let report = () => {};
  const silent = new Promise<void>((resolve) => {
    report = resolve;
  });
  const target = await startScriptedServer((peer) =>
    script(peer, async () => {
      report();
      for (;;) await peer.read(1);
    }),
  );
  return { uri: uriOf(target), silent };
}

/** Aborts when that point is reached. Resolves to the error of `work`, and to how long it took to fail. */
async function interrupt(work: (signal: AbortSignal) => Promise<unknown>, reached: Promise<unknown>) {
  const controller = new AbortController();
  const failure = work(controller.signal).then(
    () => undefined,
    (error: Error) => error,
  );
  await reached;
  const started = performance.now();
  controller.abort(new Error('interrupted'));
  const error = await failure;
  return { error, milliseconds: performance.now() - started };
}

const pullWith = (service: BackupService, signal: AbortSignal) =>
  pull(
    {
      ...{ exports: ['disk'], bitmap: 'nightly', directory: scratchFolder(), full: false, connections: 2, signal },
      ...{ bytesPerSecond: undefined, observer: { note: () => {}, progress: () => {} } },
    },
    service,
  );

/** Answers everything until a request with that command arrives. */
const silentAt = (command: number) => async (peer: ScriptedPeer, beSilent: () => Promise<void>) => {
  await peer.open({ contexts, flags: 1 | 4 });
  for (;;) {
    const { command: asked, cookie, length } = await peer.request();
    if (asked === command) return await beSilent();
    if (asked !== BLOCK_STATUS) return;
    peer.send(statusChunk(cookie, 0, 1, [[length, 0]]), statusChunk(cookie, DONE, 2, [[length, 1]]));
  }
};

test.each<[string, Parameters<typeof startSilentServer>[0]]>([
  ['before it greets', (_peer, beSilent) => beSilent()],
  [
    'instead of answering an option',
    async (peer, beSilent) => {
      await peer.greet();
      await peer.option();
      await beSilent();
    },
  ],
  ['instead of telling the block status', silentAt(BLOCK_STATUS)],
])('a pull from a server that is silent %s ends when interrupted', async (_where, script) => {
  const { uri, silent } = await startSilentServer(script);
  const service = new ScriptedBackups(() => uri);
  const { error, milliseconds } = await interrupt((signal) => pullWith(service, signal), silent);
  expect(error?.message).toMatch(/^interrupted: /);
  expect(milliseconds).toBeLessThan(LIMIT_MILLISECONDS);
  expect([...service.backups.values()]).toMatchObject([{ state: 'aborted' }]);
});

test('a pull from a server that stops sending data ends when interrupted', async () => {
  let connections = 0;
  const { uri, silent } = await startSilentServer(async (peer, beSilent) => {
    // The first connection is asked only for the allocation. The others are used for reads.
    const isStatus = connections++ === 0;
    await peer.open({ contexts: { 'base:allocation': 1 }, flags: 1 });
    for (;;) {
      const { command, cookie, length } = await peer.request();
      if (command === READ) return await beSilent();
      if (command !== BLOCK_STATUS || !isStatus) return;
      peer.send(statusChunk(cookie, DONE, 1, [[length, 0]]));
    }
  });
  const service = new ScriptedBackups(() => uri);
  const { error, milliseconds } = await interrupt((signal) => pullWith(service, signal), silent);
  expect(error?.message).toMatch(/^interrupted: /);
  expect(milliseconds).toBeLessThan(LIMIT_MILLISECONDS);
});

test('a connection that is never accepted is given up when interrupted', async () => {
  const port = await freePort();
  const script = `require('net').createServer().listen({ port: ${port}, host: '127.0.0.1', backlog: 1 }, () => console.log('up'))`;
  const server = spawn(process.execPath, ['--eval', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  onTestFinished(() => void server.kill('SIGKILL'));
  await once(server.stdout, 'data');
  server.kill('SIGSTOP');
  // The kernel accepts connections until the queue is full.
  const fillers = Array.from({ length: 8 }, () => connect(port, '127.0.0.1').on('error', () => {}));
  onTestFinished(() => void fillers.map((socket) => socket.destroy()));
  await once(fillers[0]!, 'connect');
  const target = { address: { host: '127.0.0.1', port }, exportName: '' };
  const { error, milliseconds } = await interrupt(
    (signal) => NbdClient.connect(target, { signal }),
    new Promise(setImmediate),
  );
  expect(error?.message).toBe('the connection to the NBD server was given up');
  expect(milliseconds).toBeLessThan(LIMIT_MILLISECONDS);
});

test('disconnecting from a server that does not close ends when interrupted', async () => {
  let report = () => {};
  const disconnecting = new Promise<void>((resolve) => {
    report = resolve;
  });
  const target = await startScriptedServer(async (peer) => {
    await peer.open();
    // One byte of the request to disconnect stays unread, because then Node keeps the connection open.
    await peer.read(27);
    report();
  });
  const controller = new AbortController();
  const client = await NbdClient.connect(target, { signal: controller.signal });
  const { error, milliseconds } = await interrupt(async (signal) => {
    signal.addEventListener('abort', () => controller.abort());
    await client.disconnect();
  }, disconnecting);
  expect(error).toBeUndefined();
  expect(milliseconds).toBeLessThan(LIMIT_MILLISECONDS);
});

test('a restore to a server that never answers a write ends when interrupted', async () => {
  const { uri, silent } = await startSilentServer(async (peer, beSilent) => {
    await peer.open({ flags: 1 });
    expect((await peer.request()).command).toBe(WRITE);
    await beSilent();
  });
  const write = async (signal: AbortSignal) => {
    const target = await openRestoreTarget(uri, { sizeBytes: 2 ** 20, force: false, signal });
    await target.write(0, Buffer.alloc(4096, 1));
  };
  const { error, milliseconds } = await interrupt(write, silent);
  expect(error?.message).toBe('the connection to the NBD server was given up');
  expect(milliseconds).toBeLessThan(LIMIT_MILLISECONDS);
});

/** A control API that begins backups, and stops answering at the first call whose path ends like that. */
async function startStoppedServer(silentFrom: string) {
  const socketPath = join(scratchFolder(), 'control.sock');
  const { path } = await startMemoryServer([{ name: 'disk', bitmaps: ['nightly'] }]);
  const scripted = new ScriptedBackups(() => `nbd+unix:///disk?socket=${path}`);
  let isSilent = false;
  let report = () => {};
  const silent = new Promise<void>((resolve) => {
    report = resolve;
  });
  const server = createServer(async (request, response) => {
    isSilent ||= request.url!.endsWith(silentFrom);
    if (isSilent) return report();
    const begun = await scripted.begin({ exports: ['disk'], bitmap: 'nightly', full: false, ttlSeconds: 300 });
    response.setHeader('content-type', 'application/json').end(JSON.stringify(begun));
  }).listen(socketPath);
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  await once(server, 'listening');
  return { client: new ControlClient(unixPlace(socketPath)), silent };
}

test.each([
  ['/backups', /^interrupted: /],
  ['/commit', /^the server did not say whether backup .* is committed/],
])('a pull whose server stops answering at %s ends when interrupted', async (call, message) => {
  const { client, silent } = await startStoppedServer(call);
  const pullIt = (signal: AbortSignal) => pullWith(new HttpBackupService(client, signal), signal);
  const { error, milliseconds } = await interrupt(pullIt, silent);
  expect(error?.message).toMatch(message);
  expect(milliseconds).toBeLessThan(LIMIT_MILLISECONDS);
});

test('the first Ctrl-C ends a pull from a silent server', async () => {
  const { uri, silent } = await startSilentServer((_peer, beSilent) => beSilent());
  const args = [tidemarkProgram, 'pull', 'disk', '--uri', uri, '--to', scratchFolder()];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text));
  const ended = once(child, 'close');
  await silent;
  const started = performance.now();
  child.kill('SIGINT');
  expect((await ended)[0]).toBe(1);
  // A busy machine needs time to end a process.
  expect(performance.now() - started).toBeLessThan(3 * LIMIT_MILLISECONDS);
  expect(stderr).toMatch(/^tidemark: interrupted: /);
});

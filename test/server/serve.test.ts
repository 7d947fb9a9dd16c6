import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { MIB } from '../../src/base/units.js';
import { controlOf } from '../support/control.js';
import { DatagramReceiver } from '../support/datagram-receiver.js';
import { freePort } from '../support/free-port.js';
import { makeImage } from '../support/image.js';
import { startPeer, untilListening } from '../support/peer.js';
import { RawClient } from '../support/raw-client.js';
import { outcomeOf, run } from '../support/run.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { startTidemark, startTidemarkIn, tidemarkProgram } from '../support/tidemark.js';

/** Runs `tidemark serve` until it ends, in the given folder or a new one. */
function serve(options: readonly string[], folder = scratchFolder()) {
  const places = ['--unix', join(folder, 'nbd.sock'), '--state', join(folder, 'state')];
  return outcomeOf(process.execPath, tidemarkProgram, 'serve', ...places, ...options);
}

test.each(['SIGTERM', 'SIGINT'] as const)(
  '%s ends the server with exit code 0, and no socket is left',
  async (signal) => {
    const server = await startTidemark(`disk=${makeImage(MIB)},bitmap=nightly`);
    await run('qemu-io', '-f', 'raw', '-c', 'write -P 7 0 64k', server.uri('disk'));
    expect(await server.stop(signal)).toBe(0);
    expect(existsSync(server.control)).toBe(false);
    expect(server.output()).toContain('"msg":"stopped"');
  },
);

test('a connection that changed the disk gets one line in the log: client, export, negotiated options, bytes', async () => {
  const server = await startTidemark(`disk=${makeImage(MIB)},bitmap=nightly`);
  await run('qemu-io', '-f', 'raw', '-c', 'read 0 4k', server.uri('disk'));
  await run('nbdinfo', '--list', server.uri(''));
  await run('qemu-io', '-f', 'raw', '-c', 'write -P 7 0 64k', '-c', 'read 0 4k', server.uri('disk'));
  await run('qemu-io', '-d', 'unmap', '-f', 'raw', '-c', 'discard 0 64k', server.uri('disk'));
  await server.stop();
  const lines = server
    .output()
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  const closed = lines.filter(({ msg }) => msg === 'connection closed');
  expect(closed).toHaveLength(2);
  expect(closed[1]).toMatchObject({ level: 30, bytesWritten: 0 });
  expect(closed[0]).toMatchObject({
    level: 30,
    client: 'unix',
    export: 'disk',
    replies: 'structured',
    contexts: ['base:allocation'],
    bytesRead: 4096,
    bytesWritten: 65_536,
    failedRequests: 0,
  });
});

test('a failure in the background is logged, and the server continues', async () => {
  const folder = scratchFolder();
  const control = join(folder, 'control.sock');
  const stray = "process.on('SIGUSR2', () => Promise.reject(new Error('a stray failure')))";
  const server = await startPeer(
    process.execPath,
    [
      ...['--import', `data:text/javascript,${encodeURIComponent(stray)}`, tidemarkProgram, 'serve'],
      ...['--unix', join(folder, 'nbd.sock'), '--state', join(folder, 'state'), '--control', control],
    ],
    { path: control },
  );
  const { pid } = await controlOf({ control }).call<{ pid: number }>('GET', '/v1/server');
  process.kill(pid, 'SIGUSR2');
  await expect.poll(() => server.output()).toContain('a stray failure');
  await untilListening({ path: control });
  expect(server.output()).toContain('an operation failed in the background, and the server goes on');
  expect(await server.stop()).toBe(0);
});

test('a second signal ends the server at once', async () => {
  const folder = scratchFolder();
  const socket = join(folder, 'nbd.sock');
  const places = ['--unix', socket, '--state', join(folder, 'state')];
  const server = spawn(process.execPath, [tidemarkProgram, 'serve', '--export', `disk=${makeImage(MIB)}`, ...places]);
  const exited = once(server, 'exit');
  onTestFinished(() => void server.kill('SIGKILL'));
  await untilListening({ path: socket });
  // The client stays in the handshake, so that draining takes a while.
  const client = await RawClient.connect(socket);
  onTestFinished(() => client.close());
  let log = '';
  const stopping = new Promise<void>((resolve) => {
    server.stderr.on('data', (text) => {
      log += text;
      if (log.includes('stopping')) resolve();
    });
  });
  server.kill('SIGTERM');
  await stopping;
  server.kill('SIGTERM');
  expect(await exited).toEqual([1, null]);
});

test('a socket that a killed server left behind is taken over', async () => {
  const folder = scratchFolder();
  const image = makeImage(MIB);
  const socket = join(folder, 'nbd.sock');
  const places = ['--unix', socket, '--state', join(folder, 'state')];
  const start = () => spawn(process.execPath, [tidemarkProgram, 'serve', '--export', `disk=${image}`, ...places]);
  const first = start();
  await untilListening({ path: socket });
  first.kill('SIGKILL');
  await once(first, 'exit');
  expect(existsSync(socket)).toBe(true);
  const second = start();
  const gone = once(second, 'exit');
  await untilListening({ path: socket });
  second.kill();
  expect(await gone).toEqual([0, null]);
});

test('only their owner can use the control socket and the state directory', async () => {
  const server = await startTidemark(`disk=${makeImage(MIB)}`);
  await untilListening({ path: server.control });
  expect(statSync(server.control).mode & 0o777).toBe(0o600);
});

test('commands over TCP need the token', async () => {
  const folder = scratchFolder();
  const [port, token] = [await freePort(), join(folder, 'token')];
  writeFileSync(token, 'open sesame\n', { mode: 0o600 });
  const places = ['--unix', join(folder, 'nbd.sock'), '--state', join(folder, 'state')];
  const http = ['--http', `127.0.0.1:${port}`, '--http-token-file', token];
  const server = spawn(process.execPath, [tidemarkProgram, 'serve', ...places, ...http]);
  const gone = once(server, 'exit');
  onTestFinished(async () => {
    server.kill();
    await gone;
  });
  await untilListening({ host: '127.0.0.1', port });
  const url = `http://127.0.0.1:${port}/v1/server`;
  expect((await fetch(url)).status).toBe(401);
  expect((await fetch(url, { headers: { authorization: 'Bearer open sesame' } })).status).toBe(200);
});

test.each([
  ['an unknown flag', ['--frobnicate'], 2, "tidemark: unknown option '--frobnicate' (see tidemark --help)\n"],
  ['a flag without its value', ['--listen'], 2, "tidemark: option '--listen <HOST:PORT>' argument missing"],
  ['a bad address', ['--listen', 'nowhere'], 2, 'tidemark: --listen: invalid listen "nowhere" (expected HOST:PORT)\n'],
  ['a bad export', ['--export', 'disk'], 2, 'tidemark: "disk" names no path (an export is written NAME=PATH'],
  [
    'a missing image',
    ['--export', 'disk=/nowhere/disk.img'],
    1,
    'tidemark: there is no image /nowhere/disk.img (check the path',
  ],
  ['a missing configuration file', ['--config', '/nowhere/t.toml'], 2, 'tidemark: there is no file /nowhere/t.toml'],
  ['the same export twice', ['--export', 'a=A', '--export', 'a=A'], 1, 'tidemark: there is already an export "a"'],
])('%s is refused', async (_what, options, code, message) => {
  const image = makeImage(MIB);
  const outcome = await serve(options.map((option) => option.replace('=A', `=${image}`)));
  expect(outcome.stderr).toContain(message);
  expect(outcome.stderr).toMatch(/ \(.+\)\n$/);
  expect(outcome.code).toBe(code);
});

test('an address in use is refused, and the server undoes what it has set up', async () => {
  const port = await freePort();
  const other = createServer().listen(port, '127.0.0.1');
  await once(other, 'listening');
  onTestFinished(() => void other.close());
  const folder = scratchFolder();
  const refused = await serve(['--listen', `127.0.0.1:${port}`], folder);
  expect(refused.stderr).toContain(`tidemark: cannot listen on 127.0.0.1:${port}: EADDRINUSE (another server`);
  expect(refused.code).toBe(1);
});

test('a second server cannot use the state directory of the first', async () => {
  const server = await startTidemark(`disk=${makeImage(MIB)}`);
  const state = join(server.control, '../state');
  const refused = await serve(['--state', state]);
  expect(refused.stderr).toContain(`tidemark: another tidemark uses the state directory ${state} (`);
  expect(refused.code).toBe(1);
});

test.each(['--unix', '--control'])(
  'the error names the missing folder of %s, and nothing is created',
  async (option) => {
    const folder = scratchFolder();
    const state = join(folder, 'state');
    const path = join(folder, 'nowhere', 's');
    const refused = await outcomeOf(process.execPath, tidemarkProgram, 'serve', option, path, '--state', state);
    const what = `cannot listen on ${path}: there is no folder ${join(folder, 'nowhere')} (make it first`;
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining(`tidemark: ${what}`) });
    expect(readdirSync(folder)).toEqual([]);
  },
);

test('the first backup creates the folder of --scratch and its parents, and only the server can use it', async () => {
  const folder = scratchFolder();
  const scratch = join(folder, 'not/yet/there');
  const server = await startTidemarkIn(folder, [`disk=${makeImage(MIB)}`], ['--scratch', scratch]);
  expect(existsSync(scratch)).toBe(false);
  expect(await beginBackup(server.control)).toMatchObject({ code: 0 });
  expect(statSync(scratch).mode & 0o777).toBe(0o700);
});

test('a backup fails if the folder of --scratch cannot be created, and the error names the folder', async () => {
  const disk = `disk=${makeImage(MIB)}`;
  const server = await startTidemarkIn(scratchFolder(), [disk], ['--scratch', '/proc/nowhere/scratch']);
  const what = 'tidemark: the scratch directory /proc/nowhere/scratch cannot be used: ENOENT';
  expect(await beginBackup(server.control)).toMatchObject({ code: 1, stderr: expect.stringContaining(what) });
});

function beginBackup(control: string) {
  const begin = ['backup', 'begin', 'disk', '--bitmap', 'nightly', '--control', control];
  return outcomeOf(process.execPath, tidemarkProgram, ...begin);
}

test('if the state directory cannot be created, the error says why', async () => {
  const folder = scratchFolder();
  writeFileSync(join(folder, 'file'), '');
  const started = (state: string) => outcomeOf(process.execPath, tidemarkProgram, 'serve', '--state', state);
  expect((await started('/proc/nowhere/state')).stderr).toContain('a folder above it is missing and cannot be created');
  expect((await started(join(folder, 'file', 'state'))).stderr).toContain('a file is in its way: choose another one');
});

test('a file in the way of a socket is left alone', async () => {
  const folder = scratchFolder();
  writeFileSync(join(folder, 'nbd.sock'), 'precious');
  const refused = await serve([], folder);
  expect(refused.stderr).toContain('exists and is not a socket (choose another path)');
  expect(refused.code).toBe(1);
  expect(statSync(join(folder, 'nbd.sock')).size).toBe(8);
});

test('a socket of another kind in the way is left alone', async () => {
  const folder = scratchFolder();
  const { address } = new DatagramReceiver(join(folder, 'nbd.sock'));
  const refused = await serve([], folder);
  expect(refused.stderr).toContain(`another server listens on ${address} (`);
  expect(refused.code).toBe(1);
  expect(statSync(address).isSocket()).toBe(true);
});

test('a path that is too long for a socket is refused, because it would be truncated', async () => {
  const refused = await serve([], join(scratchFolder(), 'x'.repeat(100)));
  expect(refused.stderr).toMatch(/is too long for a unix socket \(choose a path of at most 107 bytes\)/);
  expect(refused.code).toBe(1);
});

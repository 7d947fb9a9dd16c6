import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { ownToken, readGivenToken } from '../../src/server/http-token.js';
import { Control } from '../support/control.js';
import { freePort } from '../support/free-port.js';
import { untilListening } from '../support/peer.js';
import { run } from '../support/run.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { tidemarkProgram } from '../support/tidemark.js';

/** A server with an HTTP address, and how it describes that address. */
async function startWithHttp(...options: string[]) {
  const folder = scratchFolder();
  const [port, control] = [await freePort(), join(folder, 'control.sock')];
  const places = ['--unix', join(folder, 'nbd.sock'), '--state', join(folder, 'state'), '--control', control];
  const server = spawn(process.execPath, [
    tidemarkProgram,
    'serve',
    ...places,
    ...['--http', `127.0.0.1:${port}`],
    ...options,
  ]);
  const gone = once(server, 'exit');
  onTestFinished(async () => {
    server.kill();
    await gone;
  });
  await untilListening({ host: '127.0.0.1', port });
  const { http } = await new Control(control).call<{ http: Record<string, unknown> }>('GET', '/v1/server');
  return { http, state: join(folder, 'state'), port };
}

function statusOf(port: number, path: string, authorization?: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const headers = authorization === undefined ? {} : { authorization };
    const asking = request({ host: '127.0.0.1', port, path, headers, agent: false }, (answer) => {
      answer.resume();
      resolve(answer.statusCode!);
    });
    asking.once('error', reject).end();
  });
}

test('a token is required on loopback too; the server makes it and says where it is', async () => {
  const { http, state, port } = await startWithHttp();
  const tokenFile = join(state, 'http-token');
  expect(http).toEqual({ host: '127.0.0.1', port, tokenFile, metricsOnly: false, tls: false });
  expect(statSync(tokenFile).mode & 0o777).toBe(0o600);
  const token = readFileSync(tokenFile, 'utf8').trim();
  expect(await statusOf(port, '/v1/exports')).toBe(401);
  expect(await statusOf(port, '/v1/exports', `Bearer ${token}`)).toBe(200);
  expect(await statusOf(port, '/metrics')).toBe(200);
  expect(await statusOf(port, '/healthz')).toBe(200);
});

test('with --http-metrics-only no other route exists, and no token is made', async () => {
  const { http, state, port } = await startWithHttp('--http-metrics-only');
  expect(http).toEqual({ host: '127.0.0.1', port, metricsOnly: true, tls: false });
  expect(await statusOf(port, '/metrics')).toBe(200);
  expect(await statusOf(port, '/v1/exports')).toBe(404);
  expect(readdirSync(state)).not.toContain('http-token');
});

test('a token that the server made is long and stays the same, and no other file is left', async () => {
  const folder = scratchFolder();
  const first = await ownToken(folder);
  expect(await ownToken(folder)).toEqual(first);
  expect(first.token).toMatch(/^[\w-]{43}$/);
  expect(readdirSync(folder)).toEqual(['http-token']);
  expect((await ownToken(scratchFolder())).token).not.toBe(first.token);
});

test('a token that another user planted in the state directory is refused', async () => {
  const folder = scratchFolder();
  const path = join(folder, 'http-token');
  writeFileSync(join(folder, 'mine'), 'known to me', { mode: 0o600 });
  symlinkSync(join(folder, 'mine'), path);
  await expect(ownToken(folder)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  const other = scratchFolder();
  writeFileSync(join(other, 'http-token'), 'known to all');
  chmodSync(join(other, 'http-token'), 0o640);
  await expect(ownToken(other)).rejects.toMatchObject({ message: expect.stringContaining('mode 0640') });
});

test('a token file that every user can read or change is refused, and the error says how to fix it', async () => {
  const path = join(scratchFolder(), 'token');
  writeFileSync(path, 's3cret');
  for (const mode of [0o644, 0o602]) {
    chmodSync(path, mode);
    await expect(readGivenToken(path)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      hint: expect.stringContaining(`chmod 600 ${path}`),
    });
  }
  chmodSync(path, 0o640);
  expect(await readGivenToken(path)).toBe('s3cret');
});

test('an unsuitable token file is refused without waiting for it', async () => {
  const folder = scratchFolder();
  const path = join(folder, 'token');
  for (const content of ['', ' \n', 'one\ntwo', 'schlüssel', 'x'.repeat(5000)]) {
    writeFileSync(path, content, { mode: 0o600 });
    await expect(readGivenToken(path)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  }
  await run('mkfifo', '-m', '600', join(folder, 'fifo'));
  mkdirSync(join(folder, 'directory'), { mode: 0o700 });
  for (const name of ['fifo', 'directory', 'nowhere']) {
    await expect(readGivenToken(join(folder, name))).rejects.toMatchObject({
      message: expect.stringMatching(/^cannot read the token file .*: /),
    });
  }
});

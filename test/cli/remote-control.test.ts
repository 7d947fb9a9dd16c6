import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { MIB } from '../../src/base/units.js';
import { freePort } from '../support/free-port.js';
import { makeImage } from '../support/image.js';
import { untilListening } from '../support/peer.js';
import { outcomeWith } from '../support/run.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { startTidemarkIn, tidemarkProgram } from '../support/tidemark.js';
import { pskFile, TestAuthority, writeFolder } from '../support/tls-files.js';

const KEYS = { backup: 'ab'.repeat(32) };

/** A server of the disk `vm1` that takes commands over HTTPS, with more flags, and functions that run commands on it. */
async function serve(...more: string[]) {
  const [folder, httpPort, authority] = [scratchFolder(), await freePort(), await TestAuthority.create()];
  const [certificates, psk] = [
    await authority.serverFolder({ hosts: [{ type: 'dns', value: 'localhost' }] }),
    pskFile(KEYS),
  ];
  const http = ['--http', `127.0.0.1:${httpPort}`];
  const access = ['--access', 'cn:backup1,rights=backup', '--access', 'psk:backup,rights=backup'];
  const tls = ['--tls-certificates', certificates, '--tls-psk', psk];
  const server = await startTidemarkIn(
    folder,
    [`vm1=${makeImage(8 * MIB)},bitmap=nightly`],
    [...http, ...tls, ...access, ...more],
  );
  // The control socket is there before this address.
  await untilListening({ host: '127.0.0.1', port: httpPort });
  const control = `https://localhost:${httpPort}`;
  const local = (...args: string[]) => tidemark({}, ...args, '--control', server.control);
  const remote = (...args: string[]) => tidemark({}, ...args, '--control', control);
  return { server, authority, folder, httpPort, control, local, remote, psk };
}

/** Runs a command with these variables in its environment. */
function tidemark(environment: Readonly<Record<string, string>>, ...args: string[]) {
  return outcomeWith({ ...process.env, ...environment }, process.execPath, tidemarkProgram, ...args);
}

/** A file with a token that has these rights. */
async function tokenFile(local: (...args: string[]) => Promise<{ stdout: string }>, ...options: string[]) {
  const { stdout } = await local('token', 'create', ...options);
  return join(writeFolder({ token: stdout }), 'token');
}

test('every kind of proof works: a certificate, a key, and a token in a file or a variable', async () => {
  const { authority, remote, local, httpPort, psk, control } = await serve();
  const [own, ca] = [await authority.clientFolder('CN=backup1'), writeFolder({ 'ca-cert.pem': authority.certificate })];
  const token = await tokenFile(local, '--right', 'list');
  const list = ['export', 'list', '--json'];
  const proofs = [
    await remote(...list, '--tls-certificates', own),
    await remote(...list, '--tls-certificates', ca, '--token-file', token),
    await tidemark({}, ...list, '--control', `https://backup@localhost:${httpPort}`, '--tls-psk', psk),
    await tidemark({ TIDEMARK_TLS_CERTIFICATES: own }, ...list, '--control', control),
    await tidemark({ TIDEMARK_TLS_PSK: psk, TIDEMARK_CONTROL: control }, ...list),
    await tidemark({ TIDEMARK_TOKEN_FILE: token, TIDEMARK_TLS_CERTIFICATES: ca }, ...list, '--control', control),
    await tidemark(
      { TIDEMARK_TOKEN: readFileSync(token, 'utf8').trim(), TIDEMARK_TLS_CERTIFICATES: ca, TIDEMARK_CONTROL: control },
      ...list,
    ),
    await tidemark({}, ...list, '--control', `http://127.0.0.1:${httpPort}`, '--token-file', token),
  ];
  for (const outcome of proofs) {
    expect(outcome).toMatchObject({ code: 0, stderr: '' });
    expect(JSON.parse(outcome.stdout).exports).toHaveLength(1);
  }
});

test('a pull begins and commits over HTTPS, and reads over TLS', async () => {
  const { server, authority, remote, local, folder } = await serve();
  const own = ['--tls-certificates', await authority.clientFolder('CN=backup1')];
  const begun = await remote('backup', 'begin', 'vm1', '--bitmap', 'nightly', '--json', ...own);
  expect(begun).toMatchObject({ code: 0, stderr: '' });
  const { id, exports } = JSON.parse(begun.stdout);
  expect(exports[0].uri).toBe(`nbds://localhost:${server.port}/vm1@${id}`);
  expect(await remote('backup', 'abort', id, ...own)).toMatchObject({ code: 0 });
  const to = join(folder, 'backups');
  const pulled = await remote('pull', 'vm1', '--bitmap', 'nightly', '--to', to, '--over-nbd', '--json', ...own);
  expect(pulled).toMatchObject({ code: 0 });
  const { backups } = JSON.parse((await local('backup', 'list', '--json')).stdout);
  expect(backups.at(-1)).toMatchObject({ state: 'committed' });
  expect(await tidemark({}, 'verify', to)).toMatchObject({ code: 0 });
  expect(await remote('map', 'vm1', '--json', ...own)).toMatchObject({ code: 0 });
});

test('a pull whose only proof is a token says that NBD needs another one', async () => {
  const { authority, remote, local, folder } = await serve('--access', 'address:127.0.0.9,rights=list');
  const proof = ['--tls-certificates', writeFolder({ 'ca-cert.pem': authority.certificate })];
  const token = await tokenFile(local, '--right', 'backup');
  const to = join(folder, 'backups');
  const { code, stderr } = await remote(
    ...['pull', 'vm1', '--bitmap', 'nightly', '--to', to],
    ...['--token-file', token],
    ...proof,
  );
  expect(code).toBe(1);
  expect(stderr).toMatch(/the server refused .*"vm1@.*NBD takes no tokens: give a certificate or a key/);
  const { backups } = JSON.parse((await local('backup', 'list', '--json')).stdout);
  expect(backups).toMatchObject([{ state: 'aborted' }]);
});

describe('a command says what is wrong with', () => {
  test('an address in place of a URL', async () => {
    const { code, stderr } = await tidemark({}, 'export', 'list', '--control', 'vm1.example:8080');
    expect(code).toBe(1);
    expect(stderr).toBe(
      'tidemark: no server answers on vm1.example:8080 (give an address as https://vm1.example:8080)\n',
    );
  });

  test('a server that no known authority vouches for', async () => {
    const { remote } = await serve();
    const strange = await (await TestAuthority.create('strange')).clientFolder('CN=backup1');
    const outcome = await remote('export', 'list', '--tls-certificates', strange);
    expect(outcome).toMatchObject({ code: 1, stdout: '' });
    expect(outcome.stderr).toMatch(
      /^tidemark: the certificate of the server is not from an authority .*ca-cert\.pem.*\n$/,
    );
  });

  test('a server with the name of another', async () => {
    const { authority, httpPort } = await serve();
    const own = await authority.clientFolder('CN=backup1');
    const { code, stderr } = await tidemark(
      {},
      ...['export', 'list', '--tls-certificates', own],
      '--control',
      `https://127.0.0.1:${httpPort}`,
    );
    expect(code).toBe(1);
    expect(stderr).toMatch(/^tidemark: the certificate .* is not for "127\.0\.0\.1", but for localhost .*\n$/);
  });

  test('a certificate that the server does not accept', async () => {
    const { remote, authority } = await serve();
    const strange = await TestAuthority.create('strange');
    const issued = await strange.issue({ subject: 'CN=backup1', purpose: 'client' });
    const folder = writeFolder({
      'ca-cert.pem': authority.certificate,
      ...{ 'client-cert.pem': issued.certificate, 'client-key.pem': issued.key },
    });
    const { code, stderr } = await remote('export', 'list', '--tls-certificates', folder);
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^tidemark: the server on https.* closed the connection .*the log of the server says why\)\n$/,
    );
  });

  test.each([
    ['a wrong token', `tm_aaaaaaaa_${'A'.repeat(43)}`],
    ['the secret of nobody', 'open sesame'],
  ])('%s', async (_what, token) => {
    const { authority, control } = await serve();
    const ca = writeFolder({ 'ca-cert.pem': authority.certificate });
    const environment = { TIDEMARK_TLS_CERTIFICATES: ca, TIDEMARK_TOKEN: token, TIDEMARK_CONTROL: control };
    const { code, stderr } = await tidemark(environment, 'export', 'list');
    expect(code).toBe(1);
    expect(stderr).toMatch(/^tidemark: the request has no valid token .*--token-file.*\n$/);
    expect(stderr).not.toContain(token);
  });

  test('a token file that everybody can read', async () => {
    const path = join(writeFolder({ token: 'x' }), 'token');
    writeFileSync(path, 'secret', { mode: 0o644 });
    chmodSync(path, 0o644);
    const { code, stderr } = await tidemark(
      {},
      ...['export', 'list', '--token-file', path],
      '--control',
      'https://localhost:1',
    );
    expect(code).toBe(2);
    expect(stderr).toMatch(/^tidemark: every user can read or change the token file .*chmod 600.*\n$/);
  });

  test('an address where nobody listens', async () => {
    const port = await freePort();
    const { code, stderr } = await tidemark({}, 'export', 'list', '--control', `https://localhost:${port}`);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^tidemark: no server answers on https:\/\/localhost:\d+ \(.+\)\n$/);
  });

  test('a server that hangs up', async () => {
    const server = createServer((socket) => socket.destroy());
    await new Promise<void>((resolve) => server.listen({ host: '127.0.0.1', port: 0 }, resolve));
    onTestFinished(() => void server.close());
    const { port } = server.address() as { port: number };
    const { code, stderr } = await tidemark({}, 'export', 'list', '--control', `https://localhost:${port}`);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^tidemark: no server answers on https:\/\/localhost:\d+: .*before TLS.*\(.+\)\n$/);
  });

  test.each([
    ['http://backup.example:9000', 'is not encrypted'],
    ['https://user:secret@backup.example', 'has a password'],
    ['https://backup.example/v1', 'is more than an address'],
    ['https://', 'is not a URL'],
  ])('the address %s', async (control, message) => {
    const { code, stderr } = await tidemark({}, 'export', 'list', '--control', control);
    expect(code).toBe(2);
    expect(stderr).toContain(message);
    expect(stderr).not.toContain('secret@');
    expect(stderr).toMatch(/^tidemark: .+ \(.+\)\n$/);
  });
});

test('a disk is added by its path on the server', async () => {
  const { code, stderr } = await tidemark({}, 'export', 'add', 'vm2=vm2.img', '--control', 'https://backup.example');
  expect({ code, stderr }).toEqual({
    code: 2,
    stderr:
      'tidemark: the path vm2.img is relative, and the server is on another machine ' +
      '(give the path from / on, as it is on that machine)\n',
  });
});

test('token create prints the token alone on stdout, and list shows what it may do', async () => {
  const { local, remote } = await serve();
  const made = await local(
    'token',
    'create',
    '--right',
    'backup',
    '--right',
    'read',
    '--export',
    'vm*',
    '--name',
    'b1',
    '--expires',
    '30d',
  );
  expect(made.code).toBe(0);
  expect(made.stdout).toMatch(/^tm_[a-z0-9]{8}_[\w-]{43}\n$/);
  const [, id = ''] = made.stdout.split('_');
  expect(made.stderr).toMatch(new RegExp(`^made ${id}, valid until 20\\d\\d-.*Z\n$`));
  const list = await local('token', 'list');
  expect(list.stdout).toMatch(/^ID +RIGHTS +EXPORTS +MADE +EXPIRES +MADE BY +NAME\n/);
  expect(list.stdout).toMatch(new RegExp(`^${id} +backup read +vm\\* .* the operator +b1\n`, 'm'));
  expect(list.stdout).not.toContain(made.stdout.trim());
  expect(await local('token', 'remove', id)).toMatchObject({ code: 0, stdout: `removed ${id}\n` });
  expect(await local('token', 'remove', id)).toMatchObject({ code: 1 });
  const { code, stderr } = await remote('token', 'create', '--right', 'everything');
  expect({ code, stderr }).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('Expected list, read, write, backup or admin'),
  });
});

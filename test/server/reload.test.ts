import { chmodSync, copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { describe, expect, test, vi } from 'vitest';
import { AccessRules } from '../../src/access/access-rules.js';
import type { Identity } from '../../src/access/identity.js';
import type { ExportDescription } from '../../src/api/export.js';
import { CodedError } from '../../src/base/coded-error.js';
import { MIB } from '../../src/base/units.js';
import { NbdClient } from '../../src/client/nbd-client.js';
import { View } from '../../src/export/view.js';
import * as nbd from '../../src/protocol/constants.js';
import { resolveConfig, type ServerConfig } from '../../src/server/config.js';
import { parseConfigFile } from '../../src/server/config-file.js';
import { Reloader, type Reread } from '../../src/server/reload.js';
import { EventFeed } from '../../src/watch/event-feed.js';
import { rulesOf } from '../support/access-rules.js';
import { freePort } from '../support/free-port.js';
import { makeImage } from '../support/image.js';
import { serveKnownClients } from '../support/known-client.js';
import { keepLog } from '../support/log-lines.js';
import { memoryRegistry } from '../support/memory-server.js';
import { infoData, RawClient } from '../support/raw-client.js';
import { outcomeOf } from '../support/run.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { startTidemarkIn, type Tidemark, tidemarkProgram } from '../support/tidemark.js';
import { TestAuthority } from '../support/tls-files.js';

const uid = process.getuid!();

/** Waits until the log has one more line with this text. */
async function untilLogged(server: Tidemark, text: string, times = 1): Promise<void> {
  while (server.output().split(text).length - 1 < times) await new Promise((resolve) => setTimeout(resolve, 20));
}

async function reload(server: Tidemark, outcome: string, times = 1): Promise<void> {
  server.signal('SIGHUP');
  await untilLogged(server, outcome, times);
}

/** A server with a configuration file that the test can change. */
async function serveFile(text: string) {
  const folder = scratchFolder();
  const file = join(folder, 'tidemark.toml');
  const write = (content: string) => writeFileSync(file, content);
  write(text);
  const server = await startTidemarkIn(folder, [`disk=${makeImage(MIB)}`], ['--config', file]);
  const open = async () => {
    const client = await RawClient.connect(join(folder, 'nbd.sock'));
    await client.greet();
    return client;
  };
  /** The names in the answer to LIST. */
  const listed = async () => {
    const client = await open();
    client.option(nbd.Option.LIST);
    const replies = await client.replies();
    client.close();
    return replies.slice(0, -1).map(({ data }) => data.subarray(4, 4 + data.readUInt32BE(0)).toString());
  };
  return { folder, server, write, open, listed };
}

const DONE = 'reloaded the configuration';
const KEPT = 'kept the old configuration, because the new one cannot be used';
const ruleFor = (user: number, rights = 'write') => `[[access]]\nwho = ["user:${user}"]\nrights = ["${rights}"]\n`;

test('SIGHUP makes a server use new rules, and the clients that lose what they use are disconnected', async () => {
  const { server, write, open, listed } = await serveFile(ruleFor(uid));
  const writer = await open();
  expect(await listed()).toEqual(['disk']);
  write(ruleFor(uid + 1));
  await reload(server, DONE);
  expect(await listed()).toEqual([]);
  writer.option(nbd.Option.LIST);
  expect((await writer.replies()).map(({ type }) => type)).toEqual([nbd.OptionReply.ACK]);
  write(ruleFor(uid, 'list'));
  await reload(server, DONE, 2);
  expect(await listed()).toEqual(['disk']);
});

test('a client that had to rest because of the old rules is let in at once by the new ones', async () => {
  const { server, write, open, listed } = await serveFile(ruleFor(uid + 1));
  const client = await open();
  // The last of these costs a minute.
  for (let i = 0; i < 12; i++) {
    client.option(nbd.Option.GO, infoData('disk'));
    await client.replies();
  }
  await expect(open()).rejects.toThrow('the server closed the connection');
  write(ruleFor(uid));
  await reload(server, DONE);
  expect(await listed()).toEqual(['disk']);
  client.close();
});

test('what cannot be used changes nothing, and the log says why', async () => {
  const { server, write, listed } = await serveFile(ruleFor(uid));
  write('[[access]]\nwho = ["user:no-such-user"]\n');
  await reload(server, KEPT);
  expect(server.output()).toContain('"detail":"there is no user \\"no-such-user\\" in /etc/passwd');
  write('[[access]]\nwho = ["everybody"]\n');
  await reload(server, KEPT, 2);
  expect(server.output()).toContain('"detail":"tidemark.toml:2: invalid who');
  write('tls-psk = "no-such-file"\n');
  await reload(server, KEPT, 3);
  expect(server.output()).toContain('"detail":"tls changes from none to optional, which needs a restart');
  expect(await listed()).toEqual(['disk']);
});

test('SIGHUP makes a server use new certificates, and keep the old ones if the new ones are broken', async () => {
  const authority = await TestAuthority.create();
  const tls = await authority.serverFolder();
  const { folder, server } = await serveFile(`tls-certificates = "${tls}"\n`);
  const serial = async () => {
    const socket = await secured(join(folder, 'nbd.sock'), authority.certificate);
    const { serialNumber } = socket.getPeerCertificate();
    socket.destroy();
    return serialNumber;
  };
  const first = await serial();
  const open = await secured(join(folder, 'nbd.sock'), authority.certificate);
  const renewed = await authority.serverFolder();
  const take = (name: string) => {
    copyFileSync(join(renewed, name), join(tls, name));
    chmodSync(join(tls, name), 0o600);
  };
  take('server-cert.pem');
  await reload(server, KEPT);
  expect(await serial()).toBe(first);
  take('server-key.pem');
  await reload(server, DONE);
  expect(await serial()).not.toBe(first);
  expect(open.destroyed).toBe(false);
  open.destroy();
});

test('SIGHUP makes a server use a new token of the operator, and keep the old one if that is no token', async () => {
  const [file, port] = [join(scratchFolder(), 'token'), await freePort()];
  const put = (token: string) => writeFileSync(file, token, { mode: 0o600 });
  put('first');
  const { server } = await serveFile(`http = "127.0.0.1:${port}"\nhttp-token-file = "${file}"\n`);
  await untilLogged(server, 'the control API listens on TCP');
  const ask = async (token: string) => {
    const headers = { authorization: `Bearer ${token}` };
    const answer = await fetch(`http://127.0.0.1:${port}/v1/exports`, { headers });
    await answer.text();
    return answer.status;
  };
  expect([await ask('first'), await ask('second')]).toEqual([200, 401]);
  put('second');
  await reload(server, DONE);
  expect([await ask('first'), await ask('second')]).toEqual([401, 200]);
  put('');
  await reload(server, KEPT);
  expect(server.output()).toContain(`"detail":"the token file ${file} is empty`);
  expect([await ask(''), await ask('second')]).toEqual([401, 200]);
});

/** A client after STARTTLS. */
async function secured(path: string, ca: string): Promise<TLSSocket> {
  const client = await RawClient.connect(path);
  await client.greet();
  return await client.startTls({ ca });
}

describe('a client whose rights were taken away', () => {
  const client: Identity = {
    over: 'nbd',
    from: { kind: 'tcp', address: '10.0.0.7' },
    encrypted: true,
    certificate: { dn: 'CN=a', commonName: 'a', names: [], serial: '01' },
  };

  test.each([
    ['loses an export that it may not see', 'write', [], true],
    ['loses an export that it may not read', 'read', ['any,rights=list'], true],
    ['that could write loses an export that it may only read', 'write', ['any,rights=read'], true],
    ['that could only read keeps an export that it may read', 'read', ['any,rights=read'], false],
    ['keeps an export on which it gets more rights', 'read', ['any,rights=admin'], false],
  ] as const)('%s', async (_what, right, after, isDisconnected) => {
    const { log, lines } = keepLog();
    const { listener, policy, connectAs } = await serveKnownClients(
      await memoryRegistry([{ name: 'disk' }]),
      rulesOf(`any,rights=${right}`),
      log,
    );
    const connected = await connectAs(client);
    await connected.go('disk', { structured: false });
    policy.current = rulesOf(...after);
    listener.recheckRights();
    if (isDisconnected) {
      expect(await connected.rest()).toHaveLength(0);
      connected.close();
      await vi.waitFor(() => expect(lines.at(-1)!.fields).toMatchObject({ reason: 'its rights were taken away' }));
    } else {
      connected.request({ command: nbd.Command.READ, length: 512 });
      expect((await connected.simpleReply(512)).error).toBe(0);
    }
  });

  test('because its export needs TLS now is disconnected, from a view too', async () => {
    const exports = await memoryRegistry([{ name: 'disk' }]);
    const exported = exports.get('disk');
    const { device, minBlockBytes } = exported;
    exports.addView(new View({ name: 'disk@1', exported, description: '', minBlockBytes, device, contexts: [] }));
    const { listener, connectAs } = await serveKnownClients(
      exports,
      rulesOf('address:10.0.0.7,rights=admin,without-tls'),
    );
    const plain: Identity = { over: 'nbd', from: { kind: 'tcp', address: '10.0.0.7' }, encrypted: false };
    const clients = [await connectAs(plain), await connectAs(plain)];
    for (const [i, name] of ['disk', 'disk@1'].entries()) await clients[i]!.go(name, { structured: false });
    exported.describeAs({ description: 'secret', needsTls: true });
    listener.recheckRights();
    for (const connected of clients) expect(await connected.rest()).toHaveLength(0);
  });

  test('gets no answer that it could have got before, even in a handshake that began before', async () => {
    const { policy, connectAs } = await serveKnownClients(
      await memoryRegistry([{ name: 'disk' }]),
      rulesOf('any,rights=write'),
    );
    const connected = await connectAs(client);
    await connected.greet();
    policy.current = new AccessRules([]);
    connected.option(nbd.Option.LIST);
    expect((await connected.replies()).map(({ type }) => type)).toEqual([nbd.OptionReply.ACK]);
  });
});

describe('a reload', () => {
  const read = (text: string): Reread => {
    const file = parseConfigFile(text, 't.toml');
    return { file, config: resolveConfig(undefined, file) };
  };
  const nothing = { applied: [], notApplied: [] };

  /** A reloader of a server that was started with the first text and reads the others, and its events. */
  function reloaderOf([first = '', ...texts]: string[], use = async (_config: ServerConfig) => nothing) {
    const events = new EventFeed();
    const heard: object[] = [];
    events.follow(({ id: _id, at: _at, ...event }) => void heard.push(event));
    const reread = async () => read(texts.shift() ?? first);
    const reloader = new Reloader({ configuration: { ...read(first), reread }, use, events });
    return { reloader, heard };
  }

  test('says what has changed, and names the settings that need a restart at each reload', async () => {
    const next = 'max-connections = 7\nlog-level = "debug"\n[[access]]\nwho = ["any"]\n';
    const { reloader, heard } = reloaderOf(['max-connections = 8', next, next]);
    const notApplied = [{ setting: 'max-connections', why: 'it needs a restart of the server' }];
    expect(await reloader.run('me')).toEqual({ applied: ['access: changed', 'log-level: debug'], notApplied });
    expect(await reloader.run('me')).toEqual({ applied: [], notApplied });
    expect(heard).toMatchObject([
      { type: 'config-reloaded', applied: ['access: changed', 'log-level: debug'], by: 'me' },
      { type: 'config-reloaded', applied: [] },
    ]);
  });

  test('does not begin before the one before has ended, and a failure of one does not stop the next', async () => {
    const running: string[] = [];
    let count = 0;
    const { reloader, heard } = reloaderOf(['', 'log-level = "debug"', 'log-level = "debug"'], async () => {
      running.push('begin');
      await new Promise((resolve) => setImmediate(resolve));
      running.push('end');
      if (++count === 1) throw new CodedError('TLS_UNUSABLE', 'no such file', 'make it');
      return nothing;
    });
    const refused = expect(reloader.run('me')).rejects.toMatchObject({ code: 'TLS_UNUSABLE' });
    // What was refused has not been applied.
    expect(await reloader.run('SIGHUP')).toEqual({ applied: ['log-level: debug'], notApplied: [] });
    await refused;
    expect(running).toEqual(['begin', 'end', 'begin', 'end']);
    expect(heard).toEqual([
      { type: 'config-refused', detail: 'no such file (make it)', by: 'me' },
      { type: 'config-reloaded', applied: ['log-level: debug'], notApplied: [], by: 'SIGHUP' },
    ]);
  });

  test('ends before the server stops, and none begins afterwards', async () => {
    const order: string[] = [];
    const { reloader } = reloaderOf([''], async () => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      order.push('reloaded');
      return nothing;
    });
    const reloaded = reloader.run('me');
    await reloader.close().then(() => order.push('closed'));
    await reloaded;
    expect(order).toEqual(['reloaded', 'closed']);
    await expect(reloader.run('me')).rejects.toMatchObject({ code: 'SHUTTING_DOWN' });
  });
});

describe('the command', () => {
  const tidemark = (server: Tidemark, ...args: string[]) =>
    outcomeOf(process.execPath, tidemarkProgram, ...args, '--control', server.control);
  const tableOf = (name: string, path: string, more = '') => `[[export]]\nname = "${name}"\npath = "${path}"\n${more}`;

  test('applies the file, says what it could not apply, and leaves a line in the log and an event', async () => {
    const [vm1, vm2] = [makeImage(MIB), makeImage(MIB)];
    const { server, write } = await serveFile(tableOf('vm1', vm1));
    write(`threads = 1\nlog-level = "debug"\n${tableOf('vm1', vm1, 'bitmap = "nightly"\n')}${tableOf('vm2', vm2)}`);
    expect(await tidemark(server, 'reload')).toEqual({
      code: 0,
      stdout: [
        'log-level: debug',
        'export vm2: added',
        'export vm1: bitmap nightly added',
        'not applied: threads: it needs a restart of the server\n',
      ].join('\n'),
      stderr: '',
    });
    await untilLogged(server, `"msg":"${DONE}"`);
    const { stdout } = await tidemark(server, 'export', 'list', '--json');
    const origins = JSON.parse(stdout).exports.map(({ name, origin }: ExportDescription) => [name, origin]);
    expect(origins).toEqual([
      ['vm1', 'file'],
      ['disk', 'flag'],
      ['vm2', 'file'],
    ]);
    const history = JSON.parse((await tidemark(server, 'events', '--json')).stdout).events;
    expect(history.map(({ type }: { type: string }) => type)).toContain('config-reloaded');
    const client = await NbdClient.connect(server.uri('vm2'));
    await client.read(0, 512);
    await client.disconnect();
    await untilLogged(server, '"level":20,');
  });

  test('fails if the file is wrong, and everything stays as it was', async () => {
    const right = tableOf('vm1', makeImage(MIB));
    const { server, write } = await serveFile(right);
    const client = await NbdClient.connect(server.uri('vm1'));
    const state = async () => (await tidemark(server, 'export', 'list', '--json')).stdout;
    const before = await state();
    for (const [wrong, code, message] of [
      ['[[export', 2, 'tidemark.toml:1'],
      [`colour = 1\n${right}`, 2, 'colour is not a setting'],
      [right + tableOf('vm2', '/nonexistent/vm2.img'), 1, '/nonexistent/vm2.img'],
      [right + tableOf('disk', makeImage(MIB)), 1, 'two exports "disk"'],
    ] as const) {
      write(wrong);
      const outcome = await tidemark(server, 'reload');
      expect(outcome).toMatchObject({ code, stdout: '', stderr: expect.stringContaining(message) });
      expect(await state()).toBe(before);
    }
    await untilLogged(server, KEPT, 4);
    await client.write(0, Buffer.alloc(512, 1));
    await client.disconnect();
  });
});

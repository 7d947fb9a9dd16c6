import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { MIB } from '../../src/base/units.js';
import { NbdClient } from '../../src/client/nbd-client.js';
import { tidemark } from '../support/agent.js';
import { startNbdkitOnPort, startQemuNbdOnPort } from '../support/nbd-peers.js';
import { scratchFolder } from '../support/scratch-folder.js';

async function init(...args: string[]) {
  const { code, stdout, stderr } = await tidemark('tls', 'init', ...args);
  expect(code, stderr).toBe(0);
  return stdout;
}

const modeOf = (...path: string[]) => statSync(join(...path)).mode & 0o777;

async function writesAndReads(uri: string): Promise<void> {
  const client = await NbdClient.connect(uri);
  await client.write(0, Buffer.alloc(4096, 7));
  expect(await client.read(0, 4096)).toEqual(Buffer.alloc(4096, 7));
  await client.disconnect();
}

test('the certificates work on both sides, with two other servers, and those made later too', async () => {
  const directory = join(scratchFolder(), 'tls');
  const said = await init(directory, '--host', 'localhost', '--host', '127.0.0.1', '--client', 'backup1');
  expect(said).toMatch(/clients\/backup1: copy it to the client; rules call it cn:backup1$/m);
  const image = join(scratchFolder(), 'disk.raw');
  writeFileSync(image, Buffer.alloc(MIB));
  const credentials = `tls-creds-x509,id=t,endpoint=server,verify-peer=yes,dir=${directory}/server`;
  const ports = [
    await startNbdkitOnPort(
      '--tls=require',
      `--tls-certificates=${directory}/server`,
      '--tls-verify-peer',
      'memory',
      '1M',
    ),
    await startQemuNbdOnPort(image, '--format=raw', '--object', credentials, '--tls-creds=t'),
  ];
  await init(directory, '--client', 'backup2');
  for (const port of ports) {
    for (const client of ['backup1', 'backup2']) {
      await writesAndReads(`nbds://localhost:${port}/?tls-certificates=${directory}/clients/${client}`);
      await writesAndReads(`nbds://127.0.0.1:${port}/?tls-certificates=${directory}/clients/${client}`);
    }
  }
});

test('keys work on both sides', async () => {
  const directory = scratchFolder();
  await init(directory, '--psk', 'alice');
  await init(directory, '--psk', 'bob');
  const file = join(directory, 'keys.psk');
  expect(readFileSync(file, 'utf8')).toMatch(/^alice:[0-9a-f]{64}\nbob:[0-9a-f]{64}\n$/);
  const port = await startNbdkitOnPort('--tls=require', `--tls-psk=${file}`, 'memory', '1M');
  await writesAndReads(`nbds://alice@localhost:${port}/?tls-psk-file=${file}`);
  await writesAndReads(`nbds://bob@localhost:${port}/?tls-psk-file=${file}`);
});

test('nobody but the owner can read a key', async () => {
  const directory = join(scratchFolder(), 'tls');
  await init(directory, '--host', 'a.example', '--client', 'one', '--psk', 'two');
  for (const folder of ['', 'ca', 'server', 'clients', 'clients/one']) expect(modeOf(directory, folder)).toBe(0o700);
  for (const file of ['ca/ca-key.pem', 'server/server-key.pem', 'clients/one/client-key.pem', 'keys.psk']) {
    expect(modeOf(directory, file), file).toBe(0o600);
  }
});

test('without options it makes what a server here and one client need', async () => {
  const directory = scratchFolder();
  const made = JSON.parse(await init(directory, '--json'));
  const backup = { name: 'backup', path: join(directory, 'clients/backup') };
  expect(made).toEqual({ authority: join(directory, 'ca'), server: join(directory, 'server'), clients: [backup] });
});

describe('refuses, and changes nothing,', () => {
  test('what is there already', async () => {
    const directory = scratchFolder();
    await init(directory, '--host', 'a.example', '--client', 'one', '--psk', 'two');
    const files = ['server/server-key.pem', 'clients/one/client-key.pem', 'keys.psk', 'ca/ca-cert.pem'];
    const contents = () => files.map((file) => readFileSync(join(directory, file), 'utf8'));
    const before = contents();
    for (const args of [
      ['--host', 'b.example'],
      ['--client', 'three', '--client', 'one'],
      ['--psk', 'two'],
    ]) {
      const { code, stderr } = await tidemark('tls', 'init', directory, ...args);
      expect(code).toBe(1);
      expect(stderr).toMatch(/^tidemark: there is already .*nothing is replaced/);
    }
    expect(contents()).toEqual(before);
    expect(() => statSync(join(directory, 'clients/three'))).toThrow();
  });

  test.each([
    ['--client', '../etc'],
    ['--client', 'a,CN=b'],
    ['--psk', 'a:b'],
    ['--host', 'a:10809'],
    ['--host', 'https://a'],
    ['--days', '0'],
  ])('%s %s', async (option, value) => {
    const directory = join(scratchFolder(), 'tls');
    const { code, stderr } = await tidemark('tls', 'init', directory, option, value);
    expect(code, stderr).toBe(2);
    expect(() => statSync(directory)).toThrow();
  });

  test('an authority whose key others can read', async () => {
    const directory = scratchFolder();
    await init(directory);
    chmodSync(join(directory, 'ca/ca-key.pem'), 0o644);
    const { code, stderr } = await tidemark('tls', 'init', directory, '--client', 'another');
    expect(code).toBe(1);
    expect(stderr).toMatch(/every user can read or change .*ca-key.pem/);
  });
});

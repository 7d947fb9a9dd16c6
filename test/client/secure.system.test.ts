import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { KIB, MIB } from '../../src/base/units.js';
import { NbdConnectionError, NbdTlsError } from '../../src/client/errors.js';
import { listExports } from '../../src/client/listing.js';
import { NbdClient } from '../../src/client/nbd-client.js';
import { startNbdkit, startNbdkitOnPort, startQemuNbd, startQemuNbdOnPort } from '../support/nbd-peers.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { pskFile, TestAuthority } from '../support/tls-files.js';

const USER_KEY = randomBytes(32).toString('hex');

/** Writes and reads back many blocks at once, large and small. */
async function exercise(uri: string): Promise<void> {
  const client = await NbdClient.connect(uri);
  const sizes = Array.from({ length: 64 }, (_, index) => (index % 3 === 0 ? 4 * KIB : 128 * KIB));
  const blocks = sizes.map((size) => randomBytes(size));
  await Promise.all(blocks.map((block, index) => client.write(index * 128 * KIB, block)));
  await client.flush();
  const read = await Promise.all(blocks.map((block, index) => client.read(index * 128 * KIB, block.length)));
  expect(read.map((data, index) => data.equals(blocks[index]!))).not.toContain(false);
  await client.disconnect();
}

/** A disk of 8 MiB in a raw file. */
function image(): string {
  const path = join(scratchFolder(), 'disk.raw');
  writeFileSync(path, Buffer.alloc(8 * MIB));
  return path;
}

const x509 = (dir: string, verify = true) => [
  '--object',
  `tls-creds-x509,id=tls0,endpoint=server,dir=${dir},verify-peer=${verify ? 'yes' : 'no'}`,
  '--tls-creds=tls0',
];

/** The file of keys has the name that QEMU expects. */
const psk = (file: string) => [
  '--object',
  `tls-creds-psk,id=tls0,endpoint=server,dir=${dirname(file)}`,
  '--tls-creds=tls0',
];

interface Peer {
  readonly name: string;
  readonly withCertificates: (folder: string) => Promise<number>;
  readonly withKeys: (file: string) => Promise<number>;
  readonly onSocket: (folder: string) => Promise<string>;
}

const peers: Peer[] = [
  {
    name: 'nbdkit',
    withCertificates: (folder) =>
      startNbdkitOnPort('--tls=require', `--tls-certificates=${folder}`, '--tls-verify-peer', 'memory', '8M'),
    withKeys: (file) => startNbdkitOnPort('--tls=require', `--tls-psk=${file}`, 'memory', '8M'),
    onSocket: (folder) =>
      startNbdkit('--tls=require', `--tls-certificates=${folder}`, '--tls-verify-peer', 'memory', '8M'),
  },
  {
    name: 'qemu-nbd',
    withCertificates: (folder) => startQemuNbdOnPort(image(), '--format=raw', ...x509(folder)),
    withKeys: (file) => startQemuNbdOnPort(image(), '--format=raw', ...psk(file)),
    onSocket: (folder) => startQemuNbd(image(), '--format=raw', ...x509(folder)),
  },
];

describe.each(peers)('$name', ({ withCertificates, withKeys, onSocket }) => {
  test('serves a client with a certificate', async () => {
    const authority = await TestAuthority.create();
    const port = await withCertificates(await authority.serverFolder());
    const folder = await authority.clientFolder('CN=backup1');
    await exercise(`nbds://localhost:${port}/?tls-certificates=${folder}`);
    await exercise(`nbds://127.0.0.1:${port}/?tls-certificates=${folder}`);
    expect(await listExports(`nbds://localhost:${port}/?tls-certificates=${folder}`)).toHaveLength(1);
  });

  test('serves a client with a certificate on a unix socket', async () => {
    const authority = await TestAuthority.create();
    const uri = (await onSocket(await authority.serverFolder())).replace('nbd+unix', 'nbds+unix');
    const folder = await authority.clientFolder('CN=backup1');
    await exercise(`${uri}&tls-certificates=${folder}`);
    await exercise(`${uri}&tls-certificates=${folder}&tls-hostname=localhost`);
    const wrong = `${uri}&tls-certificates=${folder}&tls-hostname=other.example`;
    await expect(NbdClient.connect(wrong)).rejects.toThrow(/is not for "other.example"/);
  });

  test('serves a client with a key', async () => {
    const port = await withKeys(pskFile({ alice: USER_KEY, bob: randomBytes(32).toString('hex') }));
    const file = pskFile({ alice: USER_KEY });
    await exercise(`nbds://alice@localhost:${port}/?tls-psk-file=${file}`);
    await exercise(`nbds://localhost:${port}/?tls-psk-file=${file}&tls-username=alice`);
  });

  test('refuses a client with a wrong key or an unknown user', async () => {
    const port = await withKeys(pskFile({ alice: USER_KEY }));
    for (const user of ['alice', 'eve']) {
      const file = pskFile({ [user]: randomBytes(32).toString('hex') });
      const connecting = NbdClient.connect(`nbds://${user}@localhost:${port}/?tls-psk-file=${file}`);
      await expect(connecting).rejects.toMatchObject({ hint: expect.stringMatching(/certificate or key/) });
    }
  });

  test('refuses a client without a certificate, or with one of another authority', async () => {
    const authority = await TestAuthority.create();
    const port = await withCertificates(await authority.serverFolder());
    const others = await TestAuthority.create('others');
    const strange = await others.clientFolder('CN=backup1');
    writeFileSync(join(strange, 'ca-cert.pem'), authority.certificate);
    const bare = scratchFolder();
    writeFileSync(join(bare, 'ca-cert.pem'), authority.certificate);
    for (const folder of [strange, bare]) {
      const connecting = NbdClient.connect(`nbds://localhost:${port}/?tls-certificates=${folder}`);
      const error = await connecting.catch((error: unknown) => error);
      expect(error instanceof NbdTlsError || error instanceof NbdConnectionError, String(error)).toBe(true);
      expect((error as NbdTlsError).hint, String(error)).toMatch(/certificate/);
    }
  });

  test('is refused when its authority is unknown', async () => {
    const port = await withCertificates(await (await TestAuthority.create()).serverFolder());
    const folder = await (await TestAuthority.create('others')).clientFolder('CN=backup1');
    const connecting = NbdClient.connect(`nbds://localhost:${port}/?tls-certificates=${folder}`);
    await expect(connecting).rejects.toThrow(/not from an authority that this client trusts/);
  });

  test('requires TLS of a client that does not ask for it', async () => {
    const port = await withKeys(pskFile({ alice: USER_KEY }));
    const connecting = NbdClient.connect(`nbd://localhost:${port}/`);
    await expect(connecting).rejects.toMatchObject({ hint: expect.stringMatching(/requires TLS.*nbds:/) });
  });
});

test('a key is not used with a server that has only certificates', async () => {
  const authority = await TestAuthority.create();
  const port = await startNbdkitOnPort(
    '--tls=require',
    `--tls-certificates=${await authority.serverFolder()}`,
    'memory',
    '8M',
  );
  const file = pskFile({ alice: USER_KEY });
  const connecting = NbdClient.connect(`nbds://alice@localhost:${port}/?tls-psk-file=${file}`);
  await expect(connecting).rejects.toThrow(NbdTlsError);
});

test('a server without TLS is not used for a URI that asks for it', async () => {
  const uri = await startNbdkit('memory', '8M');
  await expect(NbdClient.connect(uri.replace('nbd+unix', 'nbds+unix'))).rejects.toThrow(/does not offer TLS/);
});

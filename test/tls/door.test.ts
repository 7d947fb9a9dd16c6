import { connect as connectTcp, createServer, type Socket } from 'node:net';
import { type ConnectionOptions, connect } from 'node:tls';
import { beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { TlsDoor } from '../../src/tls/door.js';
import type { TlsSettings } from '../../src/tls/tls-settings.js';
import { type Issued, inDays, TestAuthority } from '../support/tls-files.js';

const KEY = Buffer.alloc(32, 7);
const noKeys: ReadonlyMap<string, Uint8Array> = new Map();
const keys: ReadonlyMap<string, Uint8Array> = new Map([['alice', KEY]]);

let authority: TestAuthority;
let server: Issued;
let certificates: TlsSettings;

beforeAll(async () => {
  authority = await TestAuthority.create();
  server = await authority.issue({ subject: 'CN=localhost', purpose: 'server' });
  certificates = { ca: authority.certificate, certificate: server.certificate, key: server.key, psk: noKeys };
});

interface Visit {
  readonly outcome: Awaited<ReturnType<TlsDoor['admit']>>;
  /** What the client saw: the answer of the server, or its error. */
  readonly seen: string;
}

/** Sends one client through the door. An admitted client is sent `hello`, and its socket closed. */
async function visit(door: TlsDoor, client: (port: number) => Socket): Promise<Visit> {
  const listener = createServer({ pauseOnConnect: true, allowHalfOpen: true });
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void listener.close());
  const { port } = listener.address() as { port: number };
  const outcome = new Promise<Visit['outcome']>((resolve) => {
    listener.on('connection', async (raw) => resolve(await door.admit(raw)));
  });
  const socket = client(port);
  const seen = new Promise<string>((resolve) => {
    let text = '';
    socket.on('data', (data) => {
      text += data;
    });
    socket.on('error', (error: Error & { code?: string }) => resolve(error.code ?? error.message));
    socket.on('close', () => resolve(text));
  });
  const result = await outcome;
  if ('socket' in result) result.socket.end('hello');
  return { outcome: result, seen: await seen };
}

const byTls = (options: ConnectionOptions) => (port: number) =>
  connect({ host: '127.0.0.1', port, checkServerIdentity: () => undefined, ca: authority.certificate, ...options });

const withKey = (identity: string, psk: Buffer, options: ConnectionOptions = {}) =>
  byTls({ ciphers: 'TLS_AES_128_GCM_SHA256:PSK', pskCallback: () => ({ identity, psk }), ...options });

const doorOf = (settings: TlsSettings) => new TlsDoor(settings, 10_000);

describe.each(['TLSv1.2', 'TLSv1.3'] as const)('over %s', (protocol) => {
  const only = { minVersion: protocol, maxVersion: protocol };

  test('a client with a certificate of the authority is admitted, with its names', async () => {
    const { certificate, key, serial } = await authority.issue({
      subject: 'CN=backup1, O=Example',
      purpose: 'client',
      hosts: [{ type: 'dns', value: 'Backup1.Example' }],
    });
    const { outcome, seen } = await visit(doorOf(certificates), byTls({ cert: certificate, key, ...only }));
    const facts = { commonName: 'backup1', names: ['backup1.example'], serial };
    expect(outcome).toMatchObject({ proof: { protocol, certificate: facts } });
    expect(outcome).not.toHaveProperty('proof.psk');
    expect(seen).toBe('hello');
  });

  test('a client without a certificate is admitted as anybody', async () => {
    const { outcome } = await visit(doorOf(certificates), byTls(only));
    expect(outcome).toMatchObject({ proof: { protocol } });
    expect(outcome).not.toHaveProperty('proof.certificate');
    expect(outcome).not.toHaveProperty('proof.psk');
  });

  test.each([
    ['of another authority', {}, /^the certificate CN=eve is not from this server's authority$/],
    ['that has expired', { notAfter: inDays(-0.5) }, /^the certificate CN=eve expired on /],
    ['that is not valid yet', { notBefore: inDays(1) }, /^the certificate CN=eve is not valid before /],
    ['for servers', { purpose: 'server' }, /^the certificate CN=eve is not for clients$/],
  ] as const)('a certificate %s is refused, and the client is told nothing', async (what, wish, reason) => {
    const issuer = what === 'of another authority' ? await TestAuthority.create() : authority;
    const { certificate, key } = await issuer.issue({ subject: 'CN=eve', purpose: 'client', ...wish });
    const { outcome, seen } = await visit(doorOf(certificates), byTls({ cert: certificate, key, ...only }));
    expect(outcome).toMatchObject({ refused: expect.stringMatching(reason) });
    expect(['', 'ECONNRESET']).toContain(seen);
  });

  test('a revoked certificate is refused, and another one is not', async () => {
    const [lost, kept] = await Promise.all(
      ['lost', 'kept'].map((name) => authority.issue({ subject: `CN=${name}`, purpose: 'client' })),
    );
    const door = doorOf({ ...certificates, crl: await authority.revoke([lost!.serial]) });
    const enter = ({ certificate, key }: Issued) => visit(door, byTls({ cert: certificate, key, ...only }));
    const refused = `the certificate CN=lost (serial ${lost!.serial}) is revoked`;
    expect((await enter(lost!)).outcome).toMatchObject({ refused, code: 'CERT_REVOKED' });
    expect((await enter(kept!)).outcome).toMatchObject({ proof: { certificate: { commonName: 'kept' } } });
  });

  test('a client with a key is admitted, with and without certificates beside it', async () => {
    for (const settings of [{ psk: keys }, { ...certificates, psk: keys }]) {
      const { outcome, seen } = await visit(doorOf(settings), withKey('alice', KEY, only));
      expect(outcome).toMatchObject({ proof: { protocol, psk: 'alice' } });
      expect(seen).toBe('hello');
    }
  });

  test('certificates are checked where keys are used too', async () => {
    const door = doorOf({ ...certificates, psk: keys });
    const own = await authority.issue({ subject: 'CN=own', purpose: 'client' });
    const foreign = await (await TestAuthority.create()).issue({ subject: 'CN=foreign', purpose: 'client' });
    const enter = ({ certificate, key }: Issued) => visit(door, byTls({ cert: certificate, key, ...only }));
    expect((await enter(own)).outcome).toMatchObject({ proof: { certificate: { commonName: 'own' } } });
    expect((await enter(foreign)).outcome).toMatchObject({ refused: expect.stringContaining('authority') });
  });

  test('a wrong key and an unknown user look the same to the client, but not in the log', async () => {
    const door = doorOf({ psk: keys });
    const wrong = await visit(door, withKey('alice', Buffer.alloc(32, 8), only));
    const unknown = await visit(door, withKey('bob', KEY, only));
    expect(wrong.outcome).toMatchObject({ refused: 'the key of "alice" is wrong' });
    expect(unknown.outcome).toMatchObject({ refused: 'there is no key for "bob"' });
    expect(wrong.seen).toMatch(/ALERT/);
    expect(unknown.seen).toBe(wrong.seen);
  });

  test('a server with keys alone trusts no certificate', async () => {
    const { certificate, key } = await authority.issue({ subject: 'CN=eve', purpose: 'client' });
    const { outcome } = await visit(doorOf({ psk: keys }), byTls({ cert: certificate, key, ...only }));
    expect(outcome).toHaveProperty('refused');
  });
});

test('a user is not believed when TLS 1.3 goes on without his key', async () => {
  // No suite with SHA-256, so the key cannot be used, and the handshake continues with the server's certificate.
  const options = { minVersion: 'TLSv1.3', ciphers: 'TLS_AES_256_GCM_SHA384' } as const;
  const { outcome } = await visit(
    doorOf({ ...certificates, psk: keys }),
    withKey('alice', Buffer.alloc(32, 8), options),
  );
  expect(outcome).toHaveProperty('proof.cipher', 'TLS_AES_256_GCM_SHA384');
  expect(outcome).not.toHaveProperty('proof.psk');
});

test('TLS 1.1, and a client that does not speak TLS, are refused', async () => {
  const old = byTls({ minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'ALL@SECLEVEL=0' });
  expect((await visit(doorOf(certificates), old)).outcome).toMatchObject({
    refused: 'the client offers only TLS versions below 1.2',
  });
  const plain = (port: number) => connectTcp({ host: '127.0.0.1', port }).end('IHAVEOPT0000000000000000');
  expect((await visit(doorOf(certificates), plain)).outcome).toMatchObject({ refused: 'the client did not speak TLS' });
});

test('a client that hangs up, and one that says nothing, are refused', async () => {
  const hangUp = (port: number) => connectTcp({ host: '127.0.0.1', port }).end();
  expect((await visit(doorOf(certificates), hangUp)).outcome).toMatchObject({
    refused: 'the client closed the connection in the middle of the handshake',
  });
  const silent = (port: number) => connectTcp({ host: '127.0.0.1', port });
  expect((await visit(new TlsDoor(certificates, 50), silent)).outcome).toMatchObject({
    refused: 'the client did not finish the handshake in time',
  });
});

test('a client is admitted whose descriptor was that of one that has just gone', async () => {
  const door = doorOf({ psk: keys });
  const listener = createServer({ pauseOnConnect: true, allowHalfOpen: true });
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void listener.close());
  const { port } = listener.address() as { port: number };
  const visits: { raw: Socket; outcome: ReturnType<TlsDoor['admit']> }[] = [];
  listener.on('connection', (raw) => visits.push({ raw, outcome: door.admit(raw) }));
  connectTcp({ host: '127.0.0.1', port }).on('error', () => {});
  await vi.waitFor(() => expect(visits).toHaveLength(1));
  // The next client has connected when the descriptor becomes free, and is accepted before the server learns of that.
  setTimeout(() => {
    withKey('alice', KEY)(port).on('error', () => {});
    process.nextTick(() => visits[0]!.raw.destroy());
  }, 1);
  await vi.waitFor(() => expect(visits).toHaveLength(2));
  expect(await visits[0]!.outcome).toHaveProperty('refused');
  const outcome = await visits[1]!.outcome;
  expect(outcome).toHaveProperty('proof.psk', 'alice');
  if ('socket' in outcome) outcome.socket.destroy();
});

test('a client that renegotiates is disconnected', async () => {
  const renegotiate = (port: number) => {
    const socket = byTls({ maxVersion: 'TLSv1.2' })(port) as ReturnType<typeof connect>;
    socket.once('data', () => socket.renegotiate({}, () => {}));
    return socket;
  };
  const listener = createServer({ pauseOnConnect: true });
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void listener.close());
  const closed = new Promise<string>((resolve) => {
    listener.on('connection', async (raw) => {
      const outcome = await doorOf(certificates).admit(raw);
      if (!('socket' in outcome)) throw new Error(outcome.refused);
      outcome.socket.on('error', (error: Error & { code?: string }) => resolve(error.code!));
      outcome.socket.resume().write('hello');
    });
  });
  renegotiate((listener.address() as { port: number }).port).on('error', () => {});
  expect(await closed).toBe('ERR_TLS_RENEGOTIATION_DISABLED');
});

test('after a change of settings, new clients meet the new ones and open connections stay', async () => {
  const door = doorOf({ psk: keys });
  expect((await visit(door, withKey('alice', KEY))).outcome).toHaveProperty('proof.psk', 'alice');
  door.use({ psk: new Map([['bob', KEY]]) });
  expect((await visit(door, withKey('bob', KEY))).outcome).toHaveProperty('proof.psk', 'bob');
  expect((await visit(door, withKey('alice', KEY))).outcome).toMatchObject({ refused: 'there is no key for "alice"' });
});

import type { TLSSocketOptions } from 'node:tls';
import { describe, expect, test } from 'vitest';
import { NbdConnectionError, NbdProtocolError, NbdTlsError } from '../../src/client/errors.js';
import { listExports } from '../../src/client/listing.js';
import { NbdClient } from '../../src/client/nbd-client.js';
import { optionReply, type ScriptedPeer, simpleReply, startScriptedServer } from '../support/scripted-server.js';
import { inDays, TestAuthority, writeFolder } from '../support/tls-files.js';

const STARTTLS = 5;
const ABORT = 2;
const ACK = 1;
const ERROR = 2 ** 31;

const authority = await TestAuthority.create();
const hosts = [{ type: 'dns', value: 'disks.example' }] as const;
const { certificate, key } = await authority.issue({ subject: 'CN=disks', purpose: 'server', hosts });
const identity: TLSSocketOptions = { cert: certificate, key };
const trusting = () => writeFolder({ 'ca-cert.pem': authority.certificate });

interface Wish {
  readonly hostname?: string;
  readonly verification?: 'name' | 'authority' | 'nothing';
  readonly certificates?: string;
}

/** Connects to a server that follows a script, with TLS. */
async function connectTo(script: (peer: ScriptedPeer) => Promise<void>, wish: Wish = {}, timeoutSeconds = 60) {
  const target = await startScriptedServer(script);
  const tls = { certificates: trusting(), verification: 'authority', ...wish } as const;
  return await NbdClient.connect({ ...target, tls }, { timeoutSeconds });
}

/** A correct server with TLS. Resolves to its first reads. */
const serve =
  (options: TLSSocketOptions = identity) =>
  async (peer: ScriptedPeer) => {
    await peer.greet();
    const secured = await peer.startTls(options);
    await secured.agree({ structured: false, sizeBytes: 2 ** 20, flags: 1 });
    const { cookie, length } = await secured.request();
    secured.send(simpleReply(cookie, 0, Buffer.alloc(length, 7)));
    await secured.request();
    await secured.close();
  };

test('asks for TLS before anything else, and reads through it', async () => {
  const client = await connectTo(serve());
  expect((await client.read(0, 2 ** 19)).equals(Buffer.alloc(2 ** 19, 7))).toBe(true);
  await client.disconnect();
});

test('a list of exports is asked for through TLS', async () => {
  const target = await startScriptedServer(async (peer) => {
    await peer.greet();
    const secured = await peer.startTls(identity);
    const { option } = await secured.option();
    secured.send(optionReply(option, ACK));
    expect((await secured.option()).option).toBe(ABORT);
    await secured.close();
  });
  expect(await listExports({ ...target, tls: { certificates: trusting(), verification: 'authority' } })).toEqual([]);
});

describe('stops before it names the export when the server', () => {
  test.each([
    ['does not know STARTTLS', ERROR + 1, /does not offer TLS.*UNSUP/],
    ['does not allow STARTTLS', ERROR + 2, /does not offer TLS.*POLICY/],
    ['requires TLS and refuses it', ERROR + 5, /does not offer TLS/],
  ])('%s', async (_, error, message) => {
    const said: number[] = [];
    const connecting = connectTo(async (peer) => {
      await peer.greet();
      for (;;) {
        const { option } = await peer.option();
        said.push(option);
        peer.send(optionReply(option, error));
      }
    });
    await expect(connecting).rejects.toThrow(NbdTlsError);
    await expect(connecting).rejects.toThrow(message);
    expect(said.filter((option) => option !== ABORT)).toEqual([STARTTLS]);
  });

  test('is too old for options', async () => {
    const connecting = connectTo(async (peer) => {
      await peer.greet(0);
      await peer.option();
      throw new Error('an option was sent');
    });
    await expect(connecting).rejects.toThrow(/does not offer TLS/);
  });

  test('sends data behind its answer to STARTTLS, which somebody in between may have put there', async () => {
    const connecting = connectTo(async (peer) => {
      await peer.greet();
      const { option } = await peer.option();
      peer.send(optionReply(option, ACK), optionReply(8, ACK));
      await peer.option();
    });
    await expect(connecting).rejects.toThrow(NbdProtocolError);
    await expect(connecting).rejects.toThrow(/data behind its answer to STARTTLS/);
  });

  test('answers in the clear after it agreed to TLS', async () => {
    const connecting = connectTo(async (peer) => {
      await peer.greet();
      const { option } = await peer.option();
      peer.send(optionReply(option, ACK));
      await peer.read(10);
      peer.send(optionReply(8, ACK), optionReply(7, ACK));
      await peer.read(2 ** 20);
    });
    await expect(connecting).rejects.toThrow(NbdTlsError);
    await expect(connecting).rejects.toThrow(/did not answer in TLS/);
  });

  test('closes the connection in the handshake of TLS', async () => {
    const connecting = connectTo(async (peer) => {
      await peer.greet();
      const { option } = await peer.option();
      peer.send(optionReply(option, ACK));
      await peer.read(10);
      await peer.close();
    });
    await expect(connecting).rejects.toThrow(NbdConnectionError);
  });

  test('is silent in the handshake of TLS', async () => {
    const script = async (peer: ScriptedPeer) => {
      await peer.greet();
      const { option } = await peer.option();
      peer.send(optionReply(option, ACK));
      await peer.read(2 ** 20);
    };
    await expect(connectTo(script, {}, 0.3)).rejects.toThrow(/was silent for 0.3 s/);
  });
});

test('a server that leaves after the handshake of TLS may not accept the certificate', async () => {
  const connecting = connectTo(async (peer) => {
    await peer.greet();
    const secured = await peer.startTls(identity);
    await secured.option();
    await secured.close();
  });
  await expect(connecting).rejects.toMatchObject({ hint: expect.stringMatching(/certificate or key/) });
});

describe('the certificate of the server', () => {
  const issue = (change: object) => authority.issue({ subject: 'CN=disks', purpose: 'server', hosts, ...change });
  const served = async (change: object) => {
    const issued = await issue(change);
    return serve({ cert: issued.certificate, key: issued.key });
  };

  test('must have the name', async () => {
    const connecting = connectTo(serve(), { hostname: 'other.example', verification: 'name' });
    await expect(connecting).rejects.toThrow(NbdTlsError);
    await expect(connecting).rejects.toThrow(/is not for "other.example", but for disks.example/);
    const client = await connectTo(serve(), { hostname: 'disks.example', verification: 'name' });
    expect(await client.read(0, 4096)).toEqual(Buffer.alloc(4096, 7));
    await client.disconnect();
  });

  test('must be from the authority', async () => {
    const other = await (await TestAuthority.create('others')).issue({ subject: 'CN=disks', purpose: 'server', hosts });
    const script = serve({ cert: other.certificate, key: other.key });
    await expect(connectTo(script)).rejects.toThrow(/not from an authority that this client trusts/);
    await expect(connectTo(script, { hostname: 'disks.example', verification: 'name' })).rejects.toThrow(NbdTlsError);
    const client = await connectTo(script, { verification: 'nothing' });
    expect(await client.read(0, 4096)).toEqual(Buffer.alloc(4096, 7));
    await client.disconnect();
  });

  test('must not have expired', async () => {
    await expect(connectTo(await served({ notAfter: inDays(-0.5) }))).rejects.toThrow(/has expired/);
  });

  test('must be valid already', async () => {
    await expect(connectTo(await served({ notBefore: inDays(0.5) }))).rejects.toThrow(/is not valid yet/);
  });

  test('must be for servers', async () => {
    await expect(connectTo(await served({ purpose: 'client' }))).rejects.toThrow(/is not for servers/);
  });

  test('must not be revoked', async () => {
    const revoked = await issue({});
    const crl = await authority.revoke([revoked.serial]);
    const certificates = writeFolder({ 'ca-cert.pem': authority.certificate, 'ca-crl.pem': crl });
    const script = serve({ cert: revoked.certificate, key: revoked.key });
    await expect(connectTo(script, { certificates })).rejects.toThrow(/has been revoked/);
    const client = await connectTo(serve(), { certificates });
    await client.read(0, 4096);
    await client.disconnect();
  });

  test('must be of TLS 1.2 or newer', async () => {
    const script = serve({
      ...identity,
      maxVersion: 'TLSv1.1',
      minVersion: 'TLSv1',
      ciphers: 'DEFAULT@SECLEVEL=0',
    } as object);
    await expect(connectTo(script)).rejects.toThrow(/no way of TLS in common|closed|ECONNRESET/);
  });
});

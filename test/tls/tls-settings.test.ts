import { chmodSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readPskFile } from '../../src/tls/psk-file.js';
import { loadClientTls, loadServerTls } from '../../src/tls/tls-settings.js';
import { inDays, pskFile, TestAuthority, writeFolder } from '../support/tls-files.js';

const KEY = '00112233445566778899aabbccddeeff';
const unusable = (message: string) => ({ code: 'TLS_UNUSABLE', message: expect.stringContaining(message) });

describe('certificates', () => {
  test('a server reads its own and those that it trusts', async () => {
    const authority = await TestAuthority.create();
    const settings = await loadServerTls({ certificates: await authority.serverFolder() });
    expect(settings).toMatchObject({ ca: authority.certificate, certificate: expect.stringContaining('BEGIN') });
    expect(settings.crl).toBeUndefined();
    expect(settings.psk.size).toBe(0);
  });

  test('a client needs no certificate of its own', async () => {
    const authority = await TestAuthority.create();
    const folder = await authority.clientFolder('CN=backup1');
    expect(await loadClientTls({ certificates: folder })).toHaveProperty('certificate');
    rmSync(join(folder, 'client-cert.pem'));
    expect(await loadClientTls({ certificates: folder })).not.toHaveProperty('certificate');
  });

  test('a list of revoked certificates is read, and refused when it is out of date', async () => {
    const authority = await TestAuthority.create();
    const folder = await authority.serverFolder();
    const crl = join(folder, 'ca-crl.pem');
    writeFileSync(crl, await authority.revoke(['02']));
    expect(await loadServerTls({ certificates: folder })).toHaveProperty('crl');
    writeFileSync(crl, await authority.revoke(['02'], inDays(-1)));
    await expect(loadServerTls({ certificates: folder })).rejects.toMatchObject(unusable('was to be replaced by'));
    writeFileSync(crl, 'not a list');
    await expect(loadServerTls({ certificates: folder })).rejects.toMatchObject(unusable('ca-crl.pem'));
  });

  test('a missing, malformed, foreign or expired file is refused by name', async () => {
    const authority = await TestAuthority.create();
    const load = async (change: (folder: string) => void, wish = {}) => {
      const folder = await authority.serverFolder(wish);
      change(folder);
      return loadServerTls({ certificates: folder });
    };
    const put = (name: string, text: string) => (folder: string) => writeFileSync(join(folder, name), text);
    const { key } = await authority.issue({ subject: 'CN=other', purpose: 'server' });
    const refusals: [() => Promise<unknown>, string][] = [
      [() => load((folder) => rmSync(join(folder, 'ca-cert.pem'))), 'there is no file '],
      [() => load((folder) => rmSync(join(folder, 'server-cert.pem'))), '/server-cert.pem'],
      [() => load(put('server-cert.pem', 'nonsense')), 'server-cert.pem cannot be used'],
      [() => load(put('server-key.pem', 'nonsense')), 'server-key.pem cannot be used'],
      [() => load(put('server-key.pem', key)), 'does not belong to server-cert.pem'],
      [() => load(() => {}, { notAfter: inDays(-0.5) }), 'server-cert.pem expired on'],
      [() => load(() => {}, { notBefore: inDays(0.5) }), 'server-cert.pem is not valid before'],
    ];
    for (const [loading, message] of refusals) await expect(loading()).rejects.toMatchObject(unusable(message));
  });

  test('a key that every user can read is refused', async () => {
    const folder = await (await TestAuthority.create()).serverFolder();
    chmodSync(join(folder, 'server-key.pem'), 0o644);
    await expect(loadServerTls({ certificates: folder })).rejects.toMatchObject(unusable('(mode 0644)'));
  });
});

describe('keys', () => {
  test('a server reads all, and a client the one of its user', async () => {
    const psk = pskFile({ alice: KEY, bob: KEY.repeat(2) });
    expect([...(await loadServerTls({ psk })).psk.keys()]).toEqual(['alice', 'bob']);
    expect([...(await loadClientTls({ psk, username: 'bob' })).psk.keys()]).toEqual(['bob']);
    await expect(loadClientTls({ psk, username: 'eve' })).rejects.toMatchObject(unusable('has no key for "eve"'));
    await expect(loadClientTls({ psk })).rejects.toMatchObject(unusable('has 2 users'));
    expect([...(await loadClientTls({ psk: pskFile({ alice: KEY }) })).psk.keys()]).toEqual(['alice']);
  });

  test('a user may contain a colon, or be written in hexadecimal digits', async () => {
    expect(await readPskFile(pskFile({ 'a:b': KEY, '#23636f': KEY }))).toEqual(
      new Map(['a:b', '#co'].map((user) => [user, Uint8Array.from(Buffer.from(KEY, 'hex'))])),
    );
  });

  test.each([
    ['', 'has no keys'],
    [`alice${KEY}\n`, 'line 1: expected USER:KEY'],
    [`:${KEY}\n`, 'line 1: expected USER:KEY'],
    [`alice:${KEY}\nbob:${KEY}0\n`, 'line 2: the key of "bob" is not an even number'],
    [`alice:${KEY}\nalice:${KEY}\n`, 'line 2: there is already a key for "alice"'],
    ['alice:00112233\n', 'line 1: the key of "alice" has 4 bytes'],
    [`#xyz:${KEY}\n`, 'line 1: a user that begins with #'],
    [`#ff:${KEY}\n`, 'line 1: a user that begins with #'],
  ])('%j is refused, without the key in the message', async (text, message) => {
    const folder = writeFolder({ 'keys.psk': text });
    const error = await readPskFile(join(folder, 'keys.psk')).catch((reason: Error) => reason);
    expect(error).toMatchObject(unusable(message));
    expect((error as Error).message).not.toContain(KEY);
  });

  test('a file that every user can read is refused', async () => {
    const path = pskFile({ alice: KEY });
    chmodSync(path, 0o604);
    await expect(readPskFile(path)).rejects.toMatchObject(unusable('every user can read or change'));
  });
});

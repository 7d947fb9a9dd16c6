import { chmodSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { probeTls } from '../../src/doctor/probe-tls.js';
import { tidemark } from '../support/agent.js';
import { inDays, pskFile, TestAuthority, writeFolder } from '../support/tls-files.js';

/** The findings of a folder or file: `state detail` by subject. */
async function found(path: string): Promise<Record<string, string>> {
  return Object.fromEntries(
    (await probeTls(path)).map(({ subject, state, detail }) => [subject, `${state} ${detail}`]),
  );
}

/** A good folder for both roles, with a list of revoked certificates. */
async function goodFolder() {
  const authority = await TestAuthority.create();
  const folder = await authority.serverFolder();
  const issued = await authority.issue({ subject: 'CN=backup1', purpose: 'client', notAfter: inDays(400) });
  const file = (name: string, content: string) => writeFileSync(join(folder, name), content, { mode: 0o600 });
  file('client-cert.pem', issued.certificate);
  file('client-key.pem', issued.key);
  file('ca-crl.pem', await authority.revoke([], inDays(30)));
  return { authority, folder, issued, file };
}

test('a good folder has no faults', async () => {
  const { folder } = await goodFolder();
  const findings = await found(folder);
  expect(findings['as a server']).toBe('ok clients with the same ca-cert.pem accept it');
  expect(findings['as a client']).toBe('ok servers with the same ca-cert.pem accept it');
  expect(findings['client-cert.pem']).toMatch(/^ok cn:backup1 dn:CN=backup1, until \d{4}-\d\d-\d\d$/);
  expect(findings['ca-crl.pem']).toMatch(/^ok it has to be replaced by/);
  expect(findings['server-key.pem']).toBe('ok ec prime256v1');
});

test('what ends soon is a warning', async () => {
  const { authority, folder, file } = await goodFolder();
  file('ca-crl.pem', await authority.revoke([], inDays(3)));
  const findings = await found(folder);
  expect(findings['server-cert.pem']).toMatch(/^warning it expires on/);
  expect(findings['ca-cert.pem']).toMatch(/^warning CN=tests expires on/);
  expect(findings['ca-crl.pem']).toMatch(/^warning .* afterwards everybody is refused/);
});

describe('names the fault', () => {
  type Scene = Awaited<ReturnType<typeof goodFolder>>;
  test.each<[string, string, RegExp, (scene: Scene) => void | Promise<void>]>([
    [
      'no authority',
      'ca-cert.pem',
      /there is no file .*ca-cert.pem/,
      ({ folder }) => rmSync(join(folder, 'ca-cert.pem')),
    ],
    ['no PEM', 'ca-cert.pem', /no certificate in PEM/, ({ file }) => file('ca-cert.pem', 'x')],
    [
      'a server as the authority',
      'ca-cert.pem',
      /not the certificate of an authority/,
      ({ file, issued }) => file('ca-cert.pem', issued.certificate),
    ],
    [
      'a key of another certificate',
      'server-key.pem',
      /does not belong to server-cert.pem: copy both/,
      ({ file, issued }) => file('server-key.pem', issued.key),
    ],
    [
      'a key that others can read',
      'client-key.pem',
      /every user can read/,
      ({ folder }) => chmodSync(join(folder, 'client-key.pem'), 0o644),
    ],
    [
      'a certificate that is no PEM',
      'client-cert.pem',
      /not a certificate in PEM: copy it again/,
      ({ file }) => file('client-cert.pem', 'x'),
    ],
    [
      'a key that is no PEM',
      'client-key.pem',
      /not a private key in PEM: copy it again/,
      ({ file }) => file('client-key.pem', 'x'),
    ],
    [
      'a key without its certificate',
      'server-cert.pem',
      /missing: copy it here, beside server-key.pem/,
      ({ folder }) => {
        for (const name of ['server-cert.pem', 'client-cert.pem']) rmSync(join(folder, name));
      },
    ],
    [
      'another authority',
      'as a client',
      /not from the authority in ca-cert.pem .*: put the certificate of its authority there/,
      async ({ file }) => file('ca-cert.pem', (await TestAuthority.create('others')).certificate),
    ],
    [
      'a client as a server',
      'as a server',
      /extended key usage does not allow it/,
      ({ file, issued }) => {
        file('server-cert.pem', issued.certificate);
        file('server-key.pem', issued.key);
      },
    ],
    [
      'a revoked certificate',
      'as a client',
      /is revoked/,
      async ({ authority, file, issued }) => file('ca-crl.pem', await authority.revoke([issued.serial], inDays(30))),
    ],
    [
      'a list that is out of date',
      'ca-crl.pem',
      /was to be replaced by .* since then everybody is refused/,
      async ({ authority, file }) => file('ca-crl.pem', await authority.revoke([], inDays(-1))),
    ],
    [
      'a list of another authority',
      'as a client',
      /has no list of the authority/,
      async ({ file }) => file('ca-crl.pem', await (await TestAuthority.create('others')).revoke([], inDays(30))),
    ],
  ])('%s', async (_, subject, fault, change) => {
    const scene = await goodFolder();
    await change(scene);
    const finding = (await found(scene.folder))[subject]!;
    expect(finding).toMatch(/^fatal /);
    expect(finding).toMatch(fault);
  });

  test('an expired certificate', async () => {
    const authority = await TestAuthority.create();
    const folder = await authority.serverFolder({ notAfter: inDays(-0.5) });
    expect((await found(folder))['server-cert.pem']).toMatch(/^fatal it expired on/);
  });

  test('a server without alternative names', async () => {
    const folder = await (await TestAuthority.create()).serverFolder({ hosts: [], notAfter: inDays(400) });
    expect((await found(folder))['server-cert.pem']).toMatch(/^warning it has no alternative names/);
  });
});

test('a folder with the authority alone is enough for some clients', async () => {
  const folder = writeFolder({ 'ca-cert.pem': (await TestAuthority.create()).certificate });
  expect((await found(folder)).certificate).toMatch(/^missing/);
});

test('keys are checked without being shown', async () => {
  const [key, short] = ['ab'.repeat(32), 'cd'.repeat(4)];
  expect(await found(pskFile({ alice: key, bob: key }))).toEqual({ 'keys.psk': 'ok keys of psk:alice, psk:bob' });
  const findings = await found(pskFile({ alice: short }));
  expect(findings['keys.psk']).toMatch(/^fatal .*4 bytes/);
  expect(findings['keys.psk']).not.toContain(short);
});

test('the command fails with what is fatal', async () => {
  const folder = await (await TestAuthority.create()).serverFolder({ notAfter: inDays(-0.5) });
  const { code, stdout, stderr } = await tidemark('doctor', '--tls', folder);
  expect(code).toBe(1);
  expect(stdout).toMatch(/^server-cert.pem +fatal +it expired on/m);
  expect(stderr).toMatch(/cannot be used for TLS: server-cert.pem/);
  expect((await tidemark('doctor', '--tls', await (await TestAuthority.create()).serverFolder())).code).toBe(0);
});

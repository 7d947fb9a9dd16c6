import { X509Certificate } from 'node:crypto';
import { beforeAll, expect, test } from 'vitest';
import { factsOf } from '../../src/tls/names.js';
import { type CertificateWish, TestAuthority } from '../support/tls-files.js';

let authority: TestAuthority;
beforeAll(async () => {
  authority = await TestAuthority.create();
});

async function facts(wish: Omit<CertificateWish, 'purpose'>) {
  const { certificate } = await authority.issue({ purpose: 'client', ...wish });
  return factsOf(new X509Certificate(certificate));
}

test('a subject is written as in RFC 4514, the most special part first', async () => {
  expect(await facts({ subject: 'C=DE, O=Example, OU=Backups, CN=backup1' })).toMatchObject({
    commonName: 'backup1',
    dn: 'CN=backup1,OU=Backups,O=Example,C=DE',
  });
});

test('what would look like another part is escaped', async () => {
  expect(await facts({ subject: 'CN=vm1\\,O\\=Example\\+x, O=Evil' })).toMatchObject({
    commonName: 'vm1,O=Example+x',
    dn: 'O=Evil,CN=vm1\\,O=Example\\+x',
  });
});

test('of several common names none counts', async () => {
  const { commonName, dn } = await facts({ subject: 'CN=backup1, CN=admin' });
  expect(commonName).toBeUndefined();
  expect(dn).toBe('CN=admin,CN=backup1');
});

test('a control character makes the subject worthless', async () => {
  expect(await facts({ subject: 'CN=admin\u0000.example' })).toMatchObject({ dn: '' });
  expect(await facts({ subject: 'CN=admin\u0007' })).not.toHaveProperty('commonName');
});

test('alternative names are taken by their kinds, and one that pretends to be two is one', async () => {
  const { names } = await facts({
    subject: 'CN=a',
    hosts: [
      { type: 'dns', value: 'Backup1.Example' },
      { type: 'ip', value: '10.0.0.1' },
      { type: 'email', value: 'ops@example.org' },
      { type: 'url', value: 'https://example.org/a, DNS:admin' },
      { type: 'dns', value: 'a.example, DNS:admin' },
    ],
  });
  expect(names).toEqual([
    'backup1.example',
    '10.0.0.1',
    'ops@example.org',
    'https://example.org/a, DNS:admin',
    'a.example, dns:admin',
  ]);
});

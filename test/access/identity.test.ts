import { expect, test } from 'vitest';
import {
  describeIdentity,
  type Identity,
  isLocal,
  isProven,
  normalAddress,
  operator,
} from '../../src/access/identity.js';

const tcp = (address: string): Identity => ({ over: 'nbd', from: { kind: 'tcp', address }, encrypted: false });
const certificate = { dn: 'CN=backup1,O=Example', commonName: 'backup1', names: [], serial: '01' };

test.each([
  ['::ffff:127.0.0.1', '127.0.0.1'],
  ['::FFFF:10.0.0.7', '10.0.0.7'],
  ['fe80::1%eth0', 'fe80::1'],
  ['2001:db8::1', '2001:db8::1'],
  ['10.0.0.7', '10.0.0.7'],
])('the normal form of %s is %s', (address, normal) => {
  expect(normalAddress(address)).toBe(normal);
});

test('a client on a unix socket or on a loopback address is local, and no other', () => {
  expect([operator, tcp('127.0.0.1'), tcp('127.9.9.9'), tcp('::1')].map(isLocal)).toEqual([true, true, true, true]);
  expect([tcp('10.0.0.7'), tcp(''), tcp('localhost.example'), tcp('1127.0.0.1')].map(isLocal)).not.toContain(true);
});

test('an address alone proves nothing', () => {
  expect(isProven(tcp('127.0.0.1'))).toBe(false);
  expect(isProven({ ...tcp('10.0.0.7'), encrypted: true })).toBe(false);
  expect(isProven({ ...tcp('10.0.0.7'), encrypted: true, certificate })).toBe(true);
});

test.each<[Identity, string]>([
  [tcp('10.0.0.7'), '10.0.0.7'],
  [{ ...tcp('10.0.0.7'), certificate }, 'CN=backup1,O=Example (10.0.0.7)'],
  [{ ...tcp('10.0.0.7'), psk: 'alice\u001b[31m' }, 'the holder of the key of "alice\\u001b[31m" (10.0.0.7)'],
  [{ ...tcp('10.0.0.7'), token: { id: 'abc', rights: [], exports: [] } }, 'token abc (10.0.0.7)'],
  [{ ...operator, unix: { uid: 1000, gid: 1000, groups: [] } }, 'user 1000 (unix socket)'],
])('the log calls a client by what it has proved: %j', (identity, text) => {
  expect(describeIdentity(identity)).toBe(text);
});

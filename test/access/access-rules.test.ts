import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Identity, operator } from '../../src/access/identity.js';
import { type Right, rights } from '../../src/access/rights.js';
import { rulesOf } from '../support/access-rules.js';

const certificate = {
  dn: 'CN=backup1,O=Example',
  commonName: 'backup1',
  names: ['backup1.example', 'Ann@example'],
  serial: '01',
};

function tcp(address: string, more: Partial<Identity> = {}): Identity {
  return { over: 'nbd', from: { kind: 'tcp', address }, encrypted: false, ...more };
}
function unix(uid: number | undefined, groups: number[] = [], more: Partial<Identity> = {}): Identity {
  const peer = uid === undefined ? undefined : { uid, gid: uid, groups };
  return { over: 'nbd', from: { kind: 'unix' }, encrypted: false, unix: peer, ...more };
}
const withCertificate = (address = '10.0.0.7') => tcp(address, { encrypted: true, certificate });

/** The rights on one export. */
function rightsOf(identity: Identity, specs: string[], exportName = 'vm1'): Right[] {
  const rules = rulesOf(...specs);
  return rights.filter((right) => rules.may(identity, right, exportName));
}

describe('without rules', () => {
  test.each([
    ['unix', unix(1000)],
    ['unix without credentials', unix(undefined)],
    ['loopback', tcp('127.0.0.1')],
    ['::1', tcp('::1')],
    ['operator', operator],
  ])('a client on this machine may do everything: %s', (_what, identity) => {
    expect(rightsOf(identity, [])).toEqual(rights);
  });

  test.each([
    ['no TLS', tcp('10.0.0.7')],
    ['TLS', tcp('10.0.0.7', { encrypted: true })],
    ['a certificate', withCertificate()],
    ['a key', tcp('10.0.0.7', { encrypted: true, psk: 'alice' })],
    ['no address', tcp('')],
  ])('a client of a network may do nothing: %s', (_what, identity) => {
    expect(rightsOf(identity, [])).toEqual([]);
  });

  test('nobody gives commands by being on this machine', () => {
    expect(rightsOf({ ...tcp('127.0.0.1'), over: 'http' }, [])).toEqual([]);
    expect(rightsOf({ ...unix(0), over: 'http' }, [])).toEqual([]);
  });
});

test.each([
  ['list', ['list']],
  ['read', ['list', 'read']],
  ['write', ['list', 'read', 'write']],
  ['backup', ['list', 'backup']],
  ['admin', ['list', 'read', 'write', 'backup', 'admin']],
])('the right %s includes %j', (right, included) => {
  expect(rightsOf(withCertificate(), [`any,rights=${right}`])).toEqual(included);
});

describe('a rule is about', () => {
  test.each([
    ['cn:backup1', withCertificate(), true],
    ['cn:backup*', withCertificate(), true],
    ['cn:Backup1', withCertificate(), false],
    ['cn:*', tcp('10.0.0.7', { encrypted: true }), false],
    ['cn:*', tcp('10.0.0.7', { encrypted: true, psk: 'backup1' }), false],
    ['cn:*', tcp('10.0.0.7', { encrypted: true, certificate: { dn: '', names: [], serial: '1' } }), false],
    ['dn:*', tcp('10.0.0.7', { encrypted: true, certificate: { dn: '', names: [], serial: '1' } }), false],
    ['dn:CN=backup1,,O=Example', withCertificate(), true],
    ['dn:CN=backup1', withCertificate(), false],
    ['san:BACKUP1.example', withCertificate(), true],
    ['san:backup1', withCertificate(), false],
    ['san:Ann@example', withCertificate(), true],
    ['san:ann@example', withCertificate(), false],
    ['psk:alice', tcp('10.0.0.7', { encrypted: true, psk: 'alice' }), true],
    ['psk:alice', tcp('10.0.0.7', { encrypted: true, psk: 'bob' }), false],
    ['psk:*', withCertificate(), false],
    ['address:10.0.0.0/8', tcp('10.0.0.7', { encrypted: true }), true],
    ['address:10.0.0.0/8', tcp('10.0.0.7'), false],
    ['address:10.0.0.0/8,without-tls', tcp('10.0.0.7'), true],
    ['address:10.0.0.0/8,without-tls', tcp('11.0.0.7'), false],
    ['address:0.0.0.0/0,without-tls', tcp(''), false],
    ['any', tcp('10.0.0.7', { encrypted: true }), false],
    ['any', withCertificate(), true],
    ['any', tcp('10.0.0.7', { certificate }), false],
    ['local', tcp('127.0.0.1'), true],
    ['local', unix(undefined), true],
    ['local', tcp('10.0.0.7', { encrypted: true, certificate }), false],
    ['user:1000', unix(1000), true],
    ['user:1000', unix(1001), false],
    ['user:1000', unix(undefined), false],
    ['user:1000', tcp('127.0.0.1'), false],
    ['group:6', unix(1000, [6]), true],
    ['group:1000', unix(1000), true],
    ['group:6', unix(1000, [7]), false],
    ['address:127.0.0.1', tcp('127.0.0.1'), true],
    ['address:127.0.0.1', unix(1000), false],
    ['cn:backup1,from=10.0.0.0/8', withCertificate(), true],
    ['cn:backup1,from=10.0.0.0/8', withCertificate('11.0.0.7'), false],
    ['local,from=127.0.0.1', unix(1000), false],
  ] as const)('%s: %j: %s', (spec, identity, holds) => {
    // A second rule takes the default for this machine away.
    expect(rightsOf(identity, [spec, 'user:4242,rights=list'])).toEqual(holds ? ['list', 'read'] : []);
  });
});

test('a rule gives rights only on exports that match', () => {
  const rules = ['any,exports=vm*,exports=db,rights=write'];
  expect(rightsOf(withCertificate(), rules, 'vm2')).toEqual(['list', 'read', 'write']);
  expect(rightsOf(withCertificate(), rules, 'db')).toEqual(['list', 'read', 'write']);
  expect(rightsOf(withCertificate(), rules, 'db2')).toEqual([]);
});

test('a right on all exports needs a rule for all of them', () => {
  const all = (spec: string) => rulesOf(spec).mayAll(withCertificate(), 'admin');
  expect(all('any,rights=admin')).toBe(true);
  expect(all('any,rights=admin,exports=vm*')).toBe(false);
  expect(all('any,rights=admin,exports=?*')).toBe(false);
  expect(all('any,rights=write')).toBe(false);
  expect(rulesOf().mayAll(operator, 'admin')).toBe(true);
});

test('the default for this machine goes with the first rule about it', () => {
  expect(rightsOf(tcp('127.0.0.1'), ['cn:x'])).toEqual(rights);
  for (const rule of [
    'local,rights=list',
    'user:4242',
    'group:4242',
    'address:127.0.0.0/8,rights=list',
    'any,from=::1',
  ]) {
    expect(rightsOf(unix(1000), [rule]), rule).not.toContain('write');
  }
});

test('a token gives its rights and no others, whatever rules say of its holder', () => {
  const token = { id: 'abc', rights: ['backup'] as const, exports: ['vm*'] };
  const holder: Identity = { ...withCertificate(), over: 'http', token };
  expect(rightsOf(holder, ['any,rights=admin'])).toEqual(['list', 'backup']);
  expect(rightsOf(holder, ['any,rights=admin'], 'db')).toEqual([]);
  expect(rulesOf('any,rights=admin').mayAll(holder, 'backup')).toBe(false);
});

test('commands need a proof, and an address is none', () => {
  const rules = ['address:127.0.0.1,rights=admin', 'local,rights=admin', 'address:10.0.0.0/8,rights=admin,without-tls'];
  expect(rightsOf({ ...tcp('127.0.0.1'), over: 'http' }, rules)).toEqual([]);
  expect(rightsOf({ ...tcp('10.0.0.7', { encrypted: true }), over: 'http' }, rules)).toEqual([]);
  expect(rightsOf({ ...withCertificate(), over: 'http' }, rules)).toEqual(rights);
});

test('more rules never take a right away from a client of a network', () => {
  const spec = fc.constantFrom(
    'any,rights=list',
    'cn:backup1,exports=vm*',
    'psk:*',
    'address:10.0.0.0/8',
    'local',
    'san:x',
  );
  fc.assert(
    fc.property(fc.array(spec), spec, (specs, more) => {
      const before = rightsOf(withCertificate(), specs);
      expect(rightsOf(withCertificate(), [...specs, more])).toEqual(expect.arrayContaining(before));
    }),
  );
});

test.each([
  [[], true, false],
  [['local,rights=admin', 'user:0'], true, false],
  [['cn:x'], true, true],
  [['cn:x'], false, false],
  [['address:10.0.0.0/8,without-tls'], false, true],
])('%j with TLS %s opens the network: %s', (specs, hasTls, isOpen) => {
  expect(rulesOf(...specs).isOpenToNetwork(hasTls)).toBe(isOpen);
});

import { describe, expect, test } from 'vitest';
import { parseNbdUri } from '../../src/client/nbd-uri.js';
import { nbdUri, type Reach } from '../../src/control/nbd-reach.js';

const at = (host: string) => ({ tls: 'none' as const, tcp: [{ host, port: 10809 }] });
const here: Reach = { isHere: true };

test.each([
  ['127.0.0.1', 'nbd://127.0.0.1:10809/disk@1'],
  ['0.0.0.0', 'nbd://localhost:10809/disk@1'],
  ['::', 'nbd://localhost:10809/disk@1'],
  ['::1', 'nbd://[::1]:10809/disk@1'],
])('a server that listens on %s is found at %s', (host, uri) => {
  expect(nbdUri(at(host), 'disk@1', here)).toBe(uri);
});

test('the unix socket is preferred', () => {
  expect(nbdUri({ ...at('::1'), unix: '/run/nbd.sock' }, 'disk@1', here)).toBe(
    'nbd+unix:///disk@1?socket=/run/nbd.sock',
  );
});

test('without an address the URI is empty', () => {
  expect(nbdUri({ tls: 'none', tcp: [] }, 'disk@1', here)).toBe('');
});

describe.each(['disk@1', 'a/b ü%2f?#@1', '@@1', 'a&b+c=d@1'])('the name %s', (exportName) => {
  test('survives a round trip', () => {
    expect(parseNbdUri(nbdUri(at('127.0.0.1'), exportName, here))).toMatchObject({ exportName });
    expect(parseNbdUri(nbdUri({ tls: 'none', tcp: [], unix: '/s' }, exportName, here))).toMatchObject({ exportName });
  });
});

test.each(['/run/a b/nbd.sock', '/run/a&b#c?d+e%20=f/ü.sock'])('the socket %s survives a round trip', (unix) => {
  expect(parseNbdUri(nbdUri({ tls: 'none', tcp: [], unix }, 'disk@1', here))).toMatchObject({
    ...{ exportName: 'disk@1', address: { socketPath: unix } },
  });
});

describe('a caller from another machine', () => {
  const called = { name: 'disks.example', address: '10.0.0.5' };
  const there: Reach = { isHere: false, called };

  test.each(['0.0.0.0', '::', '10.0.0.5', '::ffff:10.0.0.5'])('is sent to the name that it used, at %s', (host) => {
    expect(nbdUri({ ...at(host), tls: 'optional' }, 'vm1', there)).toBe('nbds://disks.example:10809/vm1');
    expect(nbdUri({ ...at(host), tls: 'required' }, 'vm1', there)).toBe('nbds://disks.example:10809/vm1');
    expect(nbdUri(at(host), 'vm1', there)).toBe('nbd://disks.example:10809/vm1');
  });

  test('is told which user has its key', () => {
    const uri = nbdUri({ ...at('::'), tls: 'optional' }, 'vm1', { ...there, psk: 'a b' });
    expect(uri).toBe('nbds://a%20b@disks.example:10809/vm1');
    expect(parseNbdUri(uri)).toMatchObject({ tls: { username: 'a b' } });
  });

  test('that used an IPv6 address gets it in brackets', () => {
    const reach = { isHere: false, called: { name: '2001:db8::5', address: '2001:db8::5' } };
    expect(nbdUri(at('::'), 'vm1', reach)).toBe('nbd://[2001:db8::5]:10809/vm1');
    expect(nbdUri(at('0.0.0.0'), 'vm1', reach)).toBe('');
  });

  test.each(['127.0.0.1', '::1', '10.0.0.6'])('is not sent to %s, nor to a unix socket', (host) => {
    expect(nbdUri({ ...at(host), unix: '/run/nbd.sock' }, 'vm1', there)).toBe('');
  });
});

test('a caller on this machine that used TLS is sent to the name that it used, or else to the unix socket', () => {
  const reach: Reach = { isHere: true, called: { name: 'localhost', address: '127.0.0.1' } };
  const nbd = { ...at('127.0.0.1'), unix: '/run/nbd.sock', tls: 'optional' as const };
  expect(nbdUri(nbd, 'vm1', reach)).toBe('nbds://localhost:10809/vm1');
  expect(nbdUri({ ...nbd, tcp: [] }, 'vm1', reach)).toBe('nbd+unix:///vm1?socket=/run/nbd.sock');
});

test('where TLS is required, callers on this machine need it too', () => {
  const nbd = { ...at('127.0.0.1'), tls: 'required' as const };
  expect(nbdUri(nbd, 'vm1', here)).toBe('nbds://127.0.0.1:10809/vm1');
  expect(nbdUri({ ...nbd, unix: '/s' }, 'vm1', here)).toBe('nbds+unix:///vm1?socket=/s');
});

import { describe, expect, test } from 'vitest';
import { formatAddress, looksLikeNbdUri, parseNbdUri } from '../../src/client/nbd-uri.js';

const tcp = (host: string, port: number, exportName: string) => ({ address: { host, port }, exportName });
const unix = (socketPath: string, exportName: string) => ({ address: { socketPath }, exportName });

describe('an NBD URI', () => {
  test.each([
    ['nbd://example.com/disk', tcp('example.com', 10809, 'disk')],
    ['nbd://example.com', tcp('example.com', 10809, '')],
    ['nbd://example.com/', tcp('example.com', 10809, '')],
    ['nbd://example.com//disk', tcp('example.com', 10809, '/disk')],
    ['nbd://example.com/hello%20world', tcp('example.com', 10809, 'hello world')],
    ['nbd://example.com/a/../b', tcp('example.com', 10809, 'a/../b')],
    ['nbd://example.com:9000/disk', tcp('example.com', 9000, 'disk')],
    ['nbd://example.com:/disk', tcp('example.com', 10809, 'disk')],
    ['nbd://alice@example.com/disk', tcp('example.com', 10809, 'disk')],
    ['nbd:///disk', tcp('localhost', 10809, 'disk')],
    ['nbd://[::1]/disk', tcp('::1', 10809, 'disk')],
    ['nbd://[fe80::1]:9000', tcp('fe80::1', 9000, '')],
    ['NBD://host/Disk', tcp('host', 10809, 'Disk')],
    ['nbd+unix:///disk?socket=/run/nbd.sock', unix('/run/nbd.sock', 'disk')],
    ['nbd+unix:///?socket=nbd.sock', unix('nbd.sock', '')],
    ['nbd+unix:///d%C3%A9mo?socket=/tmp/a%20b%26c=d+e', unix('/tmp/a b&c=d+e', 'démo')],
    ['nbd+unix:///?socket=%00/abstract', unix('\0/abstract', '')],
  ])('%s names an export', (uri, target) => {
    expect(parseNbdUri(uri)).toEqual(target);
  });

  test.each([
    ['nbd+vsock:///disk', /vsock/],
    ['nbds+vsock://2/disk', /vsock/],
    ['http://example.com/disk', /is not an NBD URI/],
    ['demo', /is not a URI/],
    ['nbd+unix:///disk', /names no socket/],
    ['nbd+unix:///disk?socket=', /names no socket/],
    ['nbd+unix://host/disk?socket=/s', /both a host and a socket/],
    ['nbd://host/disk?socket=/s', /parameter "socket"/],
    ['nbd://host/disk?tls-type=x509', /parameter "tls-type", but does not ask for TLS/],
    ['nbds://host/disk?tls-ciphers=x', /unknown parameter "tls-ciphers"/],
    ['nbds://host/disk?tls-type=anon', /without any proof/],
    ['nbds://host/disk?tls-type=ssl', /unknown tls-type "ssl"/],
    ['nbds://host/disk?tls-certificates=a&tls-psk-file=b', /both certificates and keys/],
    ['nbds://host/disk?tls-type=psk&tls-certificates=a', /asks for keys, and names certificates/],
    ['nbds://host/disk?tls-type=x509&tls-psk-file=a', /asks for certificates, and names keys/],
    ['nbds://host/disk?tls-certificates=', /no value for "tls-certificates"/],
    ['nbds://host/disk?tls-verify-peer=maybe', /invalid tls-verify-peer "maybe"/],
    ['nbds+unix:///disk?socket=/s&tls-verify-peer=1', /names no host to expect/],
    ['nbds+unix://host/disk?socket=/s', /both a host and a socket/],
    ['nbd://host/a#b', /fragment/],
    ['nbd://host/%zz', /hexadecimal/],
    ['nbd://host/%ff', /hexadecimal/],
    ['nbd://host:0/', /port/],
    ['nbd://host:70000/', /port/],
    ['nbd://::1/', /host and port/],
  ])('%s is refused', (uri, reason) => {
    expect(() => parseNbdUri(uri)).toThrow(reason);
  });

  test.each([
    ['nbds://example.com/disk', { hostname: 'example.com', verification: 'name' }],
    ['nbds://[::1]/disk', { hostname: '::1', verification: 'name' }],
    ['NBDS:///disk', { hostname: 'localhost', verification: 'name' }],
    ['nbds://h/disk?tls-hostname=other', { hostname: 'other', verification: 'name' }],
    ['nbds://h/disk?tls-verify-peer=0', { hostname: 'h', verification: 'nothing' }],
    ['nbds://h/?tls-certificates=/etc/pki%20x', { type: 'x509', certificates: '/etc/pki x' }],
    ['nbds://alice@h/?tls-psk-file=k', { type: 'psk', pskFile: 'k', username: 'alice' }],
    ['nbds://alice@h/?tls-username=bob&tls-type=psk', { type: 'psk', username: 'bob' }],
    ['nbds+unix:///disk?socket=/s', { verification: 'authority' }],
    ['nbds+unix:///disk?socket=/s&tls-verify-peer=false', { verification: 'nothing' }],
    ['nbds+unix:///disk?socket=/s&tls-hostname=h', { hostname: 'h', verification: 'name' }],
    ['nbds+unix://alice@/?socket=/s&tls-certificates=certs', { username: 'alice', certificates: 'certs' }],
  ])('%s asks for TLS', (uri, tls) => {
    expect(parseNbdUri(uri).tls).toMatchObject(tls);
  });

  test('without TLS in its scheme asks for none', () => {
    expect(parseNbdUri('nbd://alice@host/disk')).not.toHaveProperty('tls');
  });

  test('is distinguished from the name of an export', () => {
    const uris = ['nbd://h', 'nbd+unix:///?socket=s', 'nbds://h', 'nbds+unix:///', 'nbd+vsock://2'];
    expect(uris.map(looksLikeNbdUri)).toEqual(uris.map(() => true));
    expect(['demo', 'nbd', 'vm-1.disk', 'nbd/x'].map(looksLikeNbdUri)).toEqual([false, false, false, false]);
  });
});

test('an address is written as people write it', () => {
  expect(formatAddress({ host: '::1', port: 10809 })).toBe('[::1]:10809');
  expect(formatAddress({ host: 'localhost', port: 1 })).toBe('localhost:1');
  expect(formatAddress({ socketPath: '/run/nbd.sock' })).toBe('/run/nbd.sock');
});

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
    ['nbds://example.com/disk', /TLS/],
    ['nbds+unix:///disk?socket=/s', /TLS/],
    ['http://example.com/disk', /is not an NBD URI/],
    ['demo', /is not a URI/],
    ['nbd+unix:///disk', /names no socket/],
    ['nbd+unix:///disk?socket=', /names no socket/],
    ['nbd+unix://host/disk?socket=/s', /both a host and a socket/],
    ['nbd://host/disk?socket=/s', /parameter "socket"/],
    ['nbd://host/disk?tls-type=x509', /parameter "tls-type"/],
    ['nbd://host/a#b', /fragment/],
    ['nbd://host/%zz', /hexadecimal/],
    ['nbd://host/%ff', /hexadecimal/],
    ['nbd://host:0/', /port/],
    ['nbd://host:70000/', /port/],
    ['nbd://::1/', /host and port/],
  ])('%s is refused', (uri, reason) => {
    expect(() => parseNbdUri(uri)).toThrow(reason);
  });

  test('is distinguished from the name of an export', () => {
    expect(['nbd://h', 'nbd+unix:///?socket=s', 'nbds://h'].map(looksLikeNbdUri)).toEqual([true, true, true]);
    expect(['demo', 'nbd', 'vm-1.disk', 'nbd/x'].map(looksLikeNbdUri)).toEqual([false, false, false, false]);
  });
});

test('an address is written as people write it', () => {
  expect(formatAddress({ host: '::1', port: 10809 })).toBe('[::1]:10809');
  expect(formatAddress({ host: 'localhost', port: 1 })).toBe('localhost:1');
  expect(formatAddress({ socketPath: '/run/nbd.sock' })).toBe('/run/nbd.sock');
});

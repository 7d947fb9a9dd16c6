import { describe, expect, test } from 'vitest';
import { parseNbdUri } from '../../src/client/nbd-uri.js';
import { viewUri } from '../../src/control/descriptions.js';

const at = (host: string) => ({ tcp: [{ host, port: 10809 }] });

test.each([
  ['127.0.0.1', 'nbd://127.0.0.1:10809/disk@1'],
  ['0.0.0.0', 'nbd://localhost:10809/disk@1'],
  ['::', 'nbd://localhost:10809/disk@1'],
  ['::1', 'nbd://[::1]:10809/disk@1'],
])('a server that listens on %s is found at %s', (host, uri) => {
  expect(viewUri(at(host), 'disk@1')).toBe(uri);
});

test('the unix socket is preferred', () => {
  expect(viewUri({ ...at('::1'), unix: '/run/nbd.sock' }, 'disk@1')).toBe('nbd+unix:///disk@1?socket=/run/nbd.sock');
});

test('without an address the URI is empty', () => {
  expect(viewUri({ tcp: [] }, 'disk@1')).toBe('');
});

describe.each(['disk@1', 'a/b ü%2f?#@1', '@@1', 'a&b+c=d@1'])('the name %s', (exportName) => {
  test('survives a round trip', () => {
    expect(parseNbdUri(viewUri(at('127.0.0.1'), exportName))).toMatchObject({ exportName });
    expect(parseNbdUri(viewUri({ tcp: [], unix: '/s' }, exportName))).toMatchObject({ exportName });
  });
});

test.each(['/run/a b/nbd.sock', '/run/a&b#c?d+e%20=f/ü.sock'])('the socket %s survives a round trip', (unix) => {
  expect(parseNbdUri(viewUri({ tcp: [], unix }, 'disk@1'))).toMatchObject({
    ...{ exportName: 'disk@1', address: { socketPath: unix } },
  });
});

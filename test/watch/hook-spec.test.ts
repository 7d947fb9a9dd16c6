import { describe, expect, test } from 'vitest';
import { parseHookSpec } from '../../src/watch/hooks/hook-spec.js';

test('a hook on the command line', () => {
  expect(parseHookSpec('mail,command=/usr/bin/mail-event')).toEqual({
    name: 'mail',
    events: [expect.objectContaining({ pattern: '*' })],
    exports: [],
    target: { kind: 'command', path: '/usr/bin/mail-event' },
    timeoutSeconds: 10,
    tries: 8,
  });
  const spec =
    'pager,events=backup-*,events=hook-failed,exports=vm*,url=https://a.example/x?y=1,,2,secret-file=/s,timeout=3,tries=2';
  expect(parseHookSpec(spec)).toMatchObject({
    events: [{ pattern: 'backup-*' }, { pattern: 'hook-failed' }],
    exports: [{ pattern: 'vm*' }],
    target: { kind: 'webhook', url: 'https://a.example/x?y=1,2', secretFile: '/s' },
    timeoutSeconds: 3,
    tries: 2,
  });
});

test.each(['http://127.0.0.1:8080/x', 'http://[::1]/x', 'http://localhost/'])('%s needs no TLS', (url) => {
  expect(parseHookSpec(`a,url=${url}`).target).toEqual({ kind: 'webhook', url, secretFile: undefined });
});

describe('refused is', () => {
  test.each([
    ['', '"" is not a name of letters'],
    ['a b,command=/x', '"a b" is not a name of letters'],
    ['a', 'the hook a needs either a command or a url'],
    ['a,command=/x,url=https://b.example', 'the hook a needs either a command or a url'],
    ['a,command=x', '"x" in command=x is not the absolute path of a program'],
    ['a,command=/x,secret-file=/s', 'the hook a has a secret-file, but no url'],
    ['a,url=http://b.example/', 'is not an https:// URL, or http:// with a loopback address'],
    ['a,url=http://127.0.0.1.b.example/', 'is not an https:// URL'],
    ['a,url=file:///etc/passwd', 'is not an https:// URL'],
    ['a,url=nonsense', 'is not an https:// URL'],
    ['a,command=/x,tries=0', '"0" in tries=0 is not a whole number from 1 to 20'],
    ['a,command=/x,when=now', '"when=now" is not an option of a hook'],
  ])('%j', (spec, message) => {
    expect(() => parseHookSpec(spec)).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.stringContaining(message) }),
    );
  });
});

import { describe, expect, test } from 'vitest';
import { GIB, KIB, MIB } from '../../src/base/units.js';
import { resolveConfig } from '../../src/server/config.js';
import { parseConfigFile, readConfigFile } from '../../src/server/config-file.js';

const example = `
listen = ["127.0.0.1:10809", "[::1]:10810"]
state = "/srv/tidemark"
log-level = "debug"
max-connections = 20
transient = true

[[export]]
name = "vm1"
path = "/srv/vm1.img"
size = "10G"
bitmap = ["nightly", "weekly:1M"]

[[export]]
name = "archive"
path = "/srv/archive.img"
readonly = true
min-block = 1
description = "last year"
`;

test('a configuration file has the same settings as the flags, and a table for each export', () => {
  const { entries, exports } = parseConfigFile(example, 'tidemark.toml');
  const config = resolveConfig([], entries, exports);
  expect(config).toMatchObject({
    listen: [
      { host: '127.0.0.1', port: 10809 },
      { host: '::1', port: 10810 },
    ],
    stateDirectory: '/srv/tidemark',
    controlPath: '/srv/tidemark/control.sock',
    logLevel: 'debug',
    limits: { maxConnections: 20 },
    persistence: { transient: true },
    exports: [
      {
        name: 'vm1',
        path: '/srv/vm1.img',
        sizeBytes: 10 * GIB,
        readOnly: false,
        bitmaps: [{ name: 'nightly' }, { name: 'weekly', granularityBytes: MIB }],
      },
      {
        name: 'archive',
        path: '/srv/archive.img',
        readOnly: true,
        minBlockBytes: 1,
        description: 'last year',
        bitmaps: [],
      },
    ],
  });
});

test('flags override the file, and exports of both are served', () => {
  const { entries, exports } = parseConfigFile(example, 'tidemark.toml');
  const flag = (key: 'listen' | 'export' | 'state', text: string) => ({ key, text, place: `--${key}` });
  const config = resolveConfig(
    [flag('listen', 'localhost:0'), flag('export', 'more=/srv/more.img,size=64K'), flag('state', '/tmp/state')],
    entries,
    exports,
  );
  expect(config.listen).toEqual([{ host: 'localhost', port: 0 }]);
  expect(config.stateDirectory).toBe('/tmp/state');
  expect(config.exports.map(({ name }) => name)).toEqual(['vm1', 'archive', 'more']);
  expect(config.exports[2]).toMatchObject({ sizeBytes: 64 * KIB });
});

test('by default NBD is served on its port of the loopback address, and with --unix only on the socket', () => {
  expect(resolveConfig([]).listen).toEqual([{ host: '127.0.0.1', port: 10809 }]);
  expect(resolveConfig([{ key: 'unix', text: '/run/nbd.sock', place: '--unix' }]).listen).toEqual([]);
});

describe('an invalid configuration is refused, and the error names the place and the expected value', () => {
  test.each([
    ['no TOML', 'state = "x"\nlisten = [', /^t\.toml:\d+: /, 'expected a TOML document'],
    [
      'an unknown key',
      'state = "x"\n\nstaet = "y"',
      't.toml:3: staet is not a setting',
      'expected one of export, listen,',
    ],
    ['a bad value', '\nlog-level = "loud"', 't.toml:2: invalid log-level "loud"', 'expected one of trace,'],
    [
      'a value of another kind',
      'max-connections = []',
      't.toml:1: max-connections has a value of the wrong type',
      'expected a whole number',
    ],
    ['a switch for a path', 'state = true', 't.toml:1: state has a value of the wrong type', 'expected a path'],
    ['a number for a path', 'control = 5', 't.toml:1: control has a value of the wrong type', 'expected a path'],
    [
      'text for a switch',
      'transient = "yes"',
      't.toml:1: transient has a value of the wrong type',
      'expected true or false',
    ],
    [
      'a table for a value',
      '\n[state]\npath = "x"',
      't.toml:2: state has a value of the wrong type',
      'expected a path',
    ],
    [
      'a table with a wrong name',
      '\n\n[[exports]]\nname = "a"',
      't.toml:3: exports is not a setting',
      'expected one of',
    ],
    ['a list of one', 'unix = ["a", "b"]', 't.toml:1: unix has a value of the wrong type', 'expected a path'],
    ['an export without a path', '[[export]]\nname = "a"', 't.toml:1: path is missing', 'a name and a path'],
    [
      'an unknown key of the second export',
      '[[export]]\nname = "a"\npath = "b"\n[[export]]\nname = "c"\npath = "d"\nsiez = "1G"',
      't.toml:7: siez is not a key of an export',
      'expected one of name, path, description, size, readonly, format, min-block, bitmap',
    ],
    ['a bad size', '[[export]]\nname = "a"\npath = "b"\nsize = "much"', 't.toml:4: size is "much"', 'such as "512M"'],
    [
      'a bad switch',
      '[[export]]\nreadonly = "yes"\nname = "a"\npath = "b"',
      't.toml:2: readonly is "yes"',
      'true or false',
    ],
    [
      'a bad granularity',
      '[[export]]\nname = "a"\npath = "b"\nbitmap = ["n:x"]',
      't.toml:4: bitmap has "n:x"',
      '"weekly:1M"',
    ],
  ])('%s', (_what, text, message, hint) => {
    const parse = () => {
      const { entries, exports } = parseConfigFile(text, 't.toml');
      return resolveConfig([], entries, exports);
    };
    expect(parse).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.stringMatching(message) }));
    expect(parse).toThrow(expect.objectContaining({ hint: expect.stringContaining(hint) }));
  });

  test('a file that does not exist', async () => {
    await expect(readConfigFile('/nowhere/tidemark.toml')).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });

  test('a token file that has no effect', () => {
    const http = { key: 'http', text: '0.0.0.0:8080', place: '--http' } as const;
    const metricsOnly = { key: 'http-metrics-only', text: 'true', place: '' } as const;
    expect(resolveConfig([http, metricsOnly]).httpMetricsOnly).toBe(true);
    const token = { key: 'http-token-file', text: '/etc/token', place: '' } as const;
    expect(() => resolveConfig([http, metricsOnly, token])).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID' }),
    );
  });
});

test('the control API on a network address uses the token that the server makes, or one from a file', () => {
  const http = { key: 'http', text: '0.0.0.0:8080', place: '--http' } as const;
  expect(resolveConfig([http])).toMatchObject({ http: { host: '0.0.0.0' }, httpTokenFile: undefined });
  const token = { key: 'http-token-file', text: '/etc/token', place: '' } as const;
  expect(resolveConfig([http, token]).httpTokenFile).toBe('/etc/token');
});

test('a mode is octal text, not a number, because TOML would read that as decimal', () => {
  const modeOf = (value: string) =>
    resolveConfig([], parseConfigFile(`unix-mode = ${value}`, 't.toml').entries).unixAccess.mode;
  expect(modeOf('"0660"')).toBe(0o660);
  expect(() => modeOf('660')).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
});

import { describe, expect, test } from 'vitest';
import { GIB, KIB, MIB } from '../../src/base/units.js';
import { resolveConfig } from '../../src/server/config.js';
import { parseConfigFile, readConfigFile } from '../../src/server/config-file.js';
import { readFlags } from '../../src/server/settings.js';

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
  const config = resolveConfig(undefined, parseConfigFile(example, 'tidemark.toml'));
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
        spec: {
          name: 'vm1',
          path: '/srv/vm1.img',
          sizeBytes: 10 * GIB,
          readOnly: false,
          bitmaps: [{ name: 'nightly' }, { name: 'weekly', granularityBytes: MIB }],
        },
        origin: 'file',
      },
      {
        spec: {
          name: 'archive',
          path: '/srv/archive.img',
          readOnly: true,
          minBlockBytes: 1,
          description: 'last year',
          bitmaps: [],
        },
        origin: 'file',
      },
    ],
  });
});

test('flags override the file, and exports of both are served', () => {
  const flags = readFlags([
    { key: 'listen', value: 'localhost:0' },
    { key: 'export', value: 'more=/srv/more.img,size=64K' },
    { key: 'state', value: '/tmp/state' },
  ]);
  const config = resolveConfig(flags, parseConfigFile(example, 'tidemark.toml'));
  expect(config.listen).toEqual([{ host: 'localhost', port: 0 }]);
  expect(config.stateDirectory).toBe('/tmp/state');
  expect(config.exports.map(({ spec, origin }) => [spec.name, origin])).toEqual([
    ['vm1', 'file'],
    ['archive', 'file'],
    ['more', 'flag'],
  ]);
  expect(config.exports[2]?.spec).toMatchObject({ sizeBytes: 64 * KIB });
});

test('by default NBD is served on its port of the loopback address, and with --unix only on the socket', () => {
  expect(resolveConfig().listen).toEqual([{ host: '127.0.0.1', port: 10809 }]);
  expect(resolveConfig(readFlags([{ key: 'unix', value: '/run/nbd.sock' }])).listen).toEqual([]);
});

const matching = (message: string | RegExp) =>
  typeof message === 'string' ? expect.stringContaining(message) : expect.stringMatching(message);

const http = { key: 'http', value: '0.0.0.0:8080' } as const;
const metricsOnly = [http, { key: 'http-metrics-only', value: true } as const];
const token = { key: 'http-token-file', value: '/etc/token' } as const;

describe('an invalid configuration is refused, and the error names the place and the expected value', () => {
  test.each([
    ['no TOML', 'state = "x"\nlisten = [', /^t\.toml:\d+: /, 'expected a TOML document'],
    [
      'an unknown key',
      'state = "x"\n\nstaet = "y"',
      't.toml:3: staet is not a setting',
      'expected one of export, access, threshold, hook, listen,',
    ],
    ['a bad value', '\nlog-level = "loud"', 't.toml:2: invalid log-level "loud"', 'expected one of trace,'],
    [
      'a value of another kind',
      'max-connections = []',
      't.toml:1: invalid max-connections []',
      'expected a whole number',
    ],
    ['a switch for a path', 'state = true', 't.toml:1: invalid state true', 'expected a path'],
    ['a number for a path', 'control = 5', 't.toml:1: invalid control 5', 'expected a path'],
    ['text for a switch', 'transient = "yes"', 't.toml:1: invalid transient "yes"', 'expected true or false'],
    ['a table for a value', '\n[state]\npath = "x"', 't.toml:2: invalid state [state]', 'expected a path'],
    [
      'a table with a wrong name',
      '\n\n[[exports]]\nname = "a"',
      't.toml:3: exports is not a setting',
      'expected one of',
    ],
    ['a list of one', 'unix = ["a", "b"]', 't.toml:1: invalid unix ["a", "b"]', 'expected a path'],
    ['an export without a path', '[[export]]\nname = "a"', 't.toml:1: path is missing', 'a name and a path'],
    [
      'an unknown key of the second export',
      '[[export]]\nname = "a"\npath = "b"\n[[export]]\nname = "c"\npath = "d"\nsiez = "1G"',
      't.toml:7: siez is not a key of an export',
      'expected one of name, path, description, size, readonly, format, min-block, tls, bitmap',
    ],
    [
      'a bad size',
      '[[export]]\nname = "a"\npath = "b"\nsize = "much"',
      't.toml:4: invalid size "much"',
      'such as "512M"',
    ],
    [
      'a bad switch',
      '[[export]]\nreadonly = "yes"\nname = "a"\npath = "b"',
      't.toml:2: invalid readonly "yes"',
      'true or false',
    ],
    [
      'a bad granularity',
      '[[export]]\nname = "a"\npath = "b"\nbitmap = ["n:x"]',
      't.toml:4: invalid bitmap "n:x"',
      '"weekly:1M"',
    ],
    [
      'an item of a list, with the line of the item',
      'listen = [\n  "localhost:1",\n  "localhost",\n]',
      't.toml:3: invalid listen "localhost"',
      'expected HOST:PORT',
    ],
    [
      'a key of an inline table',
      'export = [\n  { name = "a", path = "b" },\n  { name = 5 },\n]',
      't.toml:3: invalid name 5',
      'text in quotes',
    ],
    [
      'a disk that is not in a list',
      '[export]\nname = "a"\npath = "b"',
      't.toml:1: invalid export [export]',
      '[[export]]',
    ],
    [
      'a disk in the words of the flag',
      'export = ["vm1=/vm1.img"]',
      't.toml:1: invalid export "vm1=/vm1.img"',
      '[[export]]',
    ],
    ['a dotted key', '\nstate.path = "x"', 't.toml:2: invalid state state.path = "x"', 'expected a path'],
    ['a key that objects have', '__proto__ = 1', 't.toml:1: __proto__ is not a setting', 'expected one of'],
    [
      'a table that objects have',
      '\n[__proto__]\nname = "a"',
      't.toml:2: __proto__ is not a setting',
      'expected one of',
    ],
    [
      'a key of an export that objects have',
      '[[export]]\nconstructor = 1',
      't.toml:2: constructor is not a key of an export',
      'expected one of name,',
    ],
    ['a key that is there twice', 'state = "a"\nstate = "b"', /^t\.toml:2: /, 'expected a TOML document'],
    [
      'a number with a fraction',
      'cool-after = 1.5',
      't.toml:1: invalid cool-after 1.5',
      'a whole number from 0 to 86400',
    ],
    [
      'a number out of range',
      'cool-after = 86401',
      't.toml:1: invalid cool-after 86401',
      'a whole number from 0 to 86400',
    ],
    ['a date', 'state = 2026-01-01', 't.toml:1: invalid state 2026-01-01', 'expected a path'],
    [
      'a block size',
      '[[export]]\nname = "a"\npath = "b"\nmin-block = 1024',
      't.toml:4: invalid min-block 1024',
      'one of 1, 512, 4096',
    ],
    [
      'a format',
      '[[export]]\nname = "a"\npath = "b"\nformat = "qcow2"',
      't.toml:4: invalid format "qcow2"',
      '"raw", the only format',
    ],
  ])('%s', (_what, text, message, hint) => {
    const parse = () => parseConfigFile(text, 't.toml');
    expect(parse).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID', message: matching(message) }));
    expect(parse).toThrow(expect.objectContaining({ hint: expect.stringContaining(hint) }));
  });

  test('a file that does not exist', async () => {
    await expect(readConfigFile('/nowhere/tidemark.toml')).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });

  test('a flag', () => {
    expect(() => readFlags([{ key: 'cool-after', value: 'often' }])).toThrow(
      expect.objectContaining({
        code: 'CONFIG_INVALID',
        message: '--cool-after: invalid cool-after "often"',
        hint: 'expected a whole number from 0 to 86400',
      }),
    );
  });

  test('a token file that has no effect', () => {
    expect(resolveConfig(readFlags(metricsOnly)).httpMetricsOnly).toBe(true);
    expect(() => resolveConfig(readFlags([...metricsOnly, token]))).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID' }),
    );
  });
});

test('the control API on a network address uses the token that the server makes, or one from a file', () => {
  expect(resolveConfig(readFlags([http]))).toMatchObject({ http: { host: '0.0.0.0' }, httpTokenFile: undefined });
  expect(resolveConfig(readFlags([http, token])).httpTokenFile).toBe('/etc/token');
});

test('a mode is octal text, not a number, because TOML would read that as decimal', () => {
  const modeOf = (value: string) =>
    resolveConfig(undefined, parseConfigFile(`unix-mode = ${value}`, 't.toml')).unixAccess.mode;
  expect(modeOf('"0660"')).toBe(0o660);
  expect(() => modeOf('660')).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
});

test('a size in the file may be a number of bytes, and a number may be in quotes', () => {
  const given = parseConfigFile(
    'region-size = 131072\ncool-after = "7"\n[[export]]\nname = "a"\npath = "b"\nsize = 512',
    't',
  );
  expect(resolveConfig(undefined, given)).toMatchObject({
    persistence: { regionBytes: 128 * KIB, coolAfterSeconds: 7 },
    exports: [{ spec: { name: 'a', sizeBytes: 512 } }],
  });
});

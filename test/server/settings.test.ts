import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { controlSocketIn, defaultStateDirectory, scratchDirectoryIn } from '../../src/base/places.js';
import { GIB, MIB } from '../../src/base/units.js';
import { resolveConfig, type ServerConfig } from '../../src/server/config.js';
import { parseConfigFile } from '../../src/server/config-file.js';
import { type Flag, readFlags, type SettingKey, settingKeys, settings } from '../../src/server/settings.js';

const text = readFileSync(resolve(import.meta.dirname, '../../docs/configuration.md'), 'utf8');

interface Row {
  readonly key: string;
  /** Empty if there is no default. */
  readonly defaultText: string;
  readonly meaning: string;
}

/** The rows of the table under a heading. */
function tableUnder(heading: string): Row[] {
  const section = text.split(`\n## ${heading}\n`)[1]?.split('\n## ')[0] ?? '';
  return [...section.matchAll(/^\| `([^`]+)` \| (?:`([^`]+)` )?\| (.+) \|$/gm)].map(
    ([, key = '', defaultText = '', meaning = '']) => ({ key, defaultText, meaning }),
  );
}

/** The default of the setting in a server, as the parser of the setting returns it. */
const defaults: Record<SettingKey, (config: ServerConfig) => unknown> = {
  export: ({ exports }) => exports[0],
  access: ({ access }) => access[0],
  threshold: ({ thresholds }) => thresholds[0],
  hook: ({ hooks }) => hooks[0],
  listen: ({ listen }) => listen[0],
  unix: ({ unixPath }) => unixPath,
  'unix-mode': ({ unixAccess }) => unixAccess.mode,
  'unix-group': ({ unixAccess }) => unixAccess.group,
  stdio: ({ stdio }) => stdio,
  state: () => defaultStateDirectory({}, 0),
  scratch: ({ scratchDirectory, stateDirectory }) => {
    expect(scratchDirectory).toBe(scratchDirectoryIn(stateDirectory));
    return scratchDirectory.slice(stateDirectory.length + 1);
  },
  'image-root': ({ imageRoots }) => imageRoots[0],
  control: ({ controlPath, stateDirectory }) => {
    expect(controlPath).toBe(controlSocketIn(stateDirectory));
    return controlPath?.slice(stateDirectory.length + 1);
  },
  http: ({ http }) => http,
  'http-token-file': ({ httpTokenFile }) => httpTokenFile,
  'http-metrics-only': ({ httpMetricsOnly }) => httpMetricsOnly,
  tls: ({ tls }) => {
    expect(tls.mode).toBe('none');
    return undefined;
  },
  'tls-certificates': ({ tls }) => tls.files.certificates,
  'tls-psk': ({ tls }) => tls.files.psk,
  'log-level': ({ logLevel }) => logLevel,
  'log-format': ({ logFormat }) => logFormat,
  'max-connections': ({ limits }) => limits.maxConnections,
  'handshake-timeout': ({ limits }) => limits.handshakeTimeoutSeconds,
  'memory-budget': ({ limits }) => limits.memoryBudgetBytes,
  threads: ({ limits }) => {
    expect(limits.threads).toBe(availableParallelism());
    return undefined;
  },
  'busy-poll': ({ limits }) => limits.busyPollMicroseconds,
  'latency-bounds': ({ latencyBounds }) => latencyBounds,
  transient: ({ persistence }) => persistence.transient,
  'on-bitmap-error': ({ persistence }) => persistence.onBitmapError,
  'region-size': ({ persistence }) => persistence.regionBytes,
  'max-active-regions': ({ persistence }) => persistence.maxActiveRegions,
  'cool-after': ({ persistence }) => persistence.coolAfterSeconds,
  'cut-timeout': ({ cutTimeoutSeconds }) => cutTimeoutSeconds,
  'stop-timeout': ({ stopTimeoutSeconds }) => stopTimeoutSeconds,
};

describe('docs/configuration.md', () => {
  const rows = tableUnder('Settings');

  test('lists exactly the settings, in the same order', () => {
    expect(rows.map(({ key }) => key)).toEqual(settingKeys);
  });

  test.each(settingKeys)('states the default of %s', (key) => {
    const { defaultText } = rows.find((row) => row.key === key)!;
    const given = settings[key].argument === undefined ? defaultText === 'true' : defaultText;
    const documented = defaultText === '' ? undefined : settings[key].read(given);
    expect(documented).toEqual(defaults[key](resolveConfig()));
  });

  test.each(settingKeys)('states the limits of %s', (key) => {
    const { meaning } = rows.find((row) => row.key === key)!;
    const { expected, repeated } = settings[key];
    for (const limit of expected.match(/\d+/g) ?? []) expect(meaning).toContain(limit);
    if (expected.startsWith('one of ')) {
      for (const choice of expected.slice('one of '.length).split(', ')) expect(meaning).toContain(`\`${choice}\``);
    }
    expect(meaning.includes('may be repeated')).toBe(repeated);
  });

  test.each([
    ['export', 'Disks'],
    ['access', 'Access'],
    ['threshold', 'Thresholds'],
    ['hook', 'Hooks'],
  ])('lists exactly the keys of the table %s', (table, heading) => {
    const keys = tableUnder(heading).map(({ key }) => key);
    const known = `expected one of ${keys.join(', ')}`;
    const unknownKey = () => parseConfigFile(`[[${table}]]\nunheard-of = 1`, 'x.toml');
    expect(unknownKey).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID', hint: known }));
  });
});

describe('the example in docs/configuration.md', () => {
  const example = /```toml\n(.*?)```/s.exec(text)![1]!;

  test('has every setting and every key of a disk', () => {
    const [head = '', ...parts] = example.split(/^(?=\[\[)/m);
    const tables = (name: string) => parts.filter((part) => part.startsWith(`[[${name}]]`));
    const keysIn = (part: string) => [...part.matchAll(/^([\w-]+) =/gm)].map(([, key]) => key!);
    expect(keysIn(head)).toEqual(settingKeys.filter((key) => !['export', 'access', 'threshold', 'hook'].includes(key)));
    expect(new Set(tables('export').flatMap(keysIn))).toEqual(new Set(tableUnder('Disks').map(({ key }) => key)));
    expect(new Set(tables('access').flatMap(keysIn))).toEqual(new Set(tableUnder('Access').map(({ key }) => key)));
    expect(new Set(tables('threshold').flatMap(keysIn))).toEqual(
      new Set(tableUnder('Thresholds').map(({ key }) => key)),
    );
    expect(new Set(tables('hook').flatMap(keysIn))).toEqual(new Set(tableUnder('Hooks').map(({ key }) => key)));
  });

  test('parses to the expected configuration', () => {
    expect(resolveConfig(undefined, parseConfigFile(example, 'tidemark.toml'))).toEqual({
      exports: [
        {
          origin: 'file',
          spec: {
            name: 'vm1',
            path: '/srv/vm1.img',
            description: 'the disk of vm1',
            sizeBytes: 20 * GIB,
            readOnly: false,
            format: 'raw',
            bitmaps: [{ name: 'nightly' }, { name: 'weekly', granularityBytes: MIB }],
          },
        },
        {
          origin: 'file',
          spec: {
            name: 'tools',
            path: '/srv/tools.iso',
            readOnly: true,
            minBlockBytes: 1,
            tls: 'required',
            bitmaps: [],
          },
        },
      ],
      access: [
        {
          who: ['cn:backup1.example', 'psk:backup*'],
          rights: ['backup'],
          exports: [expect.objectContaining({ pattern: 'vm*' })],
          from: [expect.objectContaining({ address: '10.1.0.0' })],
          withoutTls: false,
        },
        {
          who: ['address:192.0.2.7'],
          rights: ['read'],
          exports: [expect.objectContaining({ pattern: '*' })],
          from: [],
          withoutTls: true,
        },
      ],
      thresholds: [
        {
          kind: 'backup-age',
          name: 'nightly-missing',
          exports: [expect.objectContaining({ pattern: 'vm*' })],
          bitmap: 'nightly',
          ageSeconds: 26 * 3600,
        },
        {
          kind: 'dirty',
          name: 'dirty',
          exports: [expect.objectContaining({ pattern: '*' })],
          bitmap: 'nightly',
          limit: { percent: 30 },
        },
        {
          kind: 'room',
          name: 'room',
          exports: [expect.objectContaining({ pattern: '*' })],
          of: 'scratch',
          bytes: 20 * GIB,
        },
      ],
      hooks: [
        {
          name: 'pager',
          events: ['backup-aborted', 'threshold-*'].map((pattern) => expect.objectContaining({ pattern })),
          exports: [expect.objectContaining({ pattern: 'vm*' })],
          target: {
            kind: 'webhook',
            url: 'https://alerts.example/tidemark',
            secretFile: '/etc/tidemark/pager.secret',
          },
          timeoutSeconds: 20,
          tries: 5,
        },
        {
          name: 'mail',
          events: [expect.objectContaining({ pattern: '*' })],
          exports: [],
          target: { kind: 'command', path: '/usr/local/bin/mail-event' },
          timeoutSeconds: 10,
          tries: 8,
        },
      ],
      listen: [
        { host: '127.0.0.1', port: 10809 },
        { host: '::1', port: 10809 },
      ],
      unixPath: '/run/tidemark/nbd.sock',
      unixAccess: { mode: 0o660, group: 'libvirt-qemu' },
      stdio: false,
      inheritedSockets: [],
      stateDirectory: '/var/lib/tidemark',
      scratchDirectory: '/var/tmp/tidemark',
      imageRoots: ['/srv/vms'],
      controlPath: '/run/tidemark/control.sock',
      http: { host: '127.0.0.1', port: 8080 },
      httpTokenFile: '/etc/tidemark/token',
      httpMetricsOnly: false,
      tls: {
        mode: 'optional',
        files: { certificates: '/etc/tidemark/tls', psk: '/etc/tidemark/tls/keys.psk' },
      },
      logLevel: 'info',
      logFormat: 'auto',
      limits: {
        maxConnections: 256,
        handshakeTimeoutSeconds: 10,
        busyPollMicroseconds: 100,
        memoryBudgetBytes: GIB,
        threads: 4,
      },
      persistence: {
        transient: false,
        onBitmapError: 'refuse',
        regionBytes: 16 * MIB,
        maxActiveRegions: 512,
        coolAfterSeconds: 5,
      },
      latencyBounds: [0.1, 1, 10, 100, 1000],
      cutTimeoutSeconds: 5,
      stopTimeoutSeconds: 10,
    });
  });
});

describe('the default address', () => {
  const listensOn = (flags: Flag[], sockets: number[] = []) =>
    resolveConfig(readFlags(flags), undefined, sockets).listen;

  test('is used when there is no other', () => {
    expect(listensOn([])).toEqual([{ host: '127.0.0.1', port: 10809 }]);
  });

  test('is not used with a unix socket or inherited sockets', () => {
    expect(listensOn([{ key: 'unix', value: '/run/nbd.sock' }])).toEqual([]);
    expect(listensOn([], [3])).toEqual([]);
  });
});

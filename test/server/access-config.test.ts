import { describe, expect, test } from 'vitest';
import { parseAccessSpec } from '../../src/access/access-spec.js';
import { accessRulesOf, warnOfAccess } from '../../src/server/access-config.js';
import { resolveConfig } from '../../src/server/config.js';
import { type Flag, readFlags } from '../../src/server/settings.js';
import { rulesOf } from '../support/access-rules.js';
import { keepLog } from '../support/log-lines.js';

const flag = (key: Flag['key'], value: string): Flag => ({ key, value });
const configOf = (...flags: Flag[]) => resolveConfig(readFlags(flags));

describe('users and groups', () => {
  test('are looked up by name', async () => {
    const rules = await accessRulesOf({ access: [parseAccessSpec('user:root,rights=write')] });
    const unix = (uid: number) => ({ uid, gid: 9, groups: [] });
    const may = (uid: number) =>
      rules.may({ over: 'nbd', from: { kind: 'unix' }, encrypted: false, unix: unix(uid) }, 'write', 'vm1');
    expect([may(0), may(1)]).toEqual([true, false]);
  });

  test('that do not exist are refused', async () => {
    await expect(accessRulesOf({ access: [parseAccessSpec('user:no-such-user')] })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: 'there is no user "no-such-user" in /etc/passwd',
      hint: 'use its number',
    });
  });
});

describe('the server says at the start', () => {
  const tcp = [{ address: '10.0.0.1', family: 'IPv4', port: 10809 }];
  const noRule = 'other machines can reach the NBD server, but no rule lets their clients use an export';
  const noUsers = 'rules about users and groups have no effect: this machine cannot tell who connects to a unix socket';

  test.each([
    ['a network address without TLS and rules', [], [noRule]],
    ['one with TLS and no rule', [flag('tls-psk', 'keys')], [noRule]],
    ['one with a rule that needs TLS, but no TLS', [flag('access', 'cn:x')], [noRule]],
    ['one with rules about this machine alone', [flag('tls-psk', 'keys'), flag('access', 'local')], [noRule]],
    ['one with TLS and a rule', [flag('tls-psk', 'keys'), flag('access', 'psk:x')], []],
    ['one with a rule that needs no TLS', [flag('access', 'address:10.0.0.0/8,without-tls')], []],
  ] as const)('that nobody can use an address: %s', (_what, flags, messages) => {
    const { log, lines } = keepLog();
    const config = configOf(...flags);
    const rules = rulesOf(...flags.flatMap(({ key, value }) => (key === 'access' ? [value as string] : [])));
    warnOfAccess(config, { rules, tcp, knowsPeers: true }, log);
    expect(lines.map(({ message }) => message)).toEqual(messages);
  });

  test('nothing about loopback addresses', () => {
    const { log, lines } = keepLog();
    warnOfAccess(configOf(), { rules: rulesOf(), tcp: [{ ...tcp[0]!, address: '127.0.0.1' }], knowsPeers: true }, log);
    expect(lines).toEqual([]);
  });

  test('that rules about users have no effect, where the system does not tell who connects', () => {
    const { log, lines } = keepLog();
    const config = configOf(flag('access', 'user:1000'));
    warnOfAccess(config, { rules: rulesOf('user:1000'), tcp: [], knowsPeers: false }, log);
    expect(lines.map(({ message }) => message)).toEqual([noUsers]);
  });
});

describe('TLS and its files belong together', () => {
  test.each([
    [[flag('tls', 'optional')], '--tls optional needs certificates or keys'],
    [[flag('tls', 'required')], '--tls required needs certificates or keys'],
    [
      [flag('tls', 'none'), flag('tls-psk', 'keys')],
      '--tls none does not use the certificates and keys that are given',
    ],
  ])('%j is refused', (flags, message) => {
    expect(() => configOf(...flags)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID', message }));
  });

  test('files make TLS optional, and nothing makes it none', () => {
    expect(configOf(flag('tls-certificates', 'dir')).tls.mode).toBe('optional');
    expect(configOf(flag('tls-certificates', 'dir'), flag('tls', 'required')).tls.mode).toBe('required');
    expect(configOf().tls.mode).toBe('none');
  });
});

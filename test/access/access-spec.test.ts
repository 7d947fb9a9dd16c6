import { expect, test } from 'vitest';
import { ACCESS_GRAMMAR, parseAccessSpec, ruleOf } from '../../src/access/access-spec.js';

const accounts = {
  uidOf: (name: string) => (name === 'alice' ? 1000 : undefined),
  gidOf: (name: string) => (name === 'disk' ? 6 : undefined),
};

/** A rule as plain values. */
function read(spec: string) {
  const { who, rights, exports, withoutTls } = parseAccessSpec(spec);
  return { who, rights, exports: exports.map(({ pattern }) => pattern), withoutTls };
}

test('who alone may read every export', () => {
  expect(read('cn:backup1')).toEqual({ who: ['cn:backup1'], rights: ['read'], exports: ['*'], withoutTls: false });
});

test('rights, exports and places may be given several times, and a doubled comma stands for one', () => {
  const spec = 'dn:CN=x,,O=y,rights=list,rights=backup,exports=vm*,exports=a,,b,from=10.0.0.0/8,from=::1';
  expect(read(spec)).toEqual({
    who: ['dn:CN=x,O=y'],
    rights: ['list', 'backup'],
    exports: ['vm*', 'a,b'],
    withoutTls: false,
  });
  expect(parseAccessSpec(spec).from).toHaveLength(2);
});

test.each([
  ['', '"" does not say who may do something'],
  ['everybody', '"everybody" does not say who may do something'],
  ['cn:', '"cn:" does not say who may do something'],
  ['rights=read', '"rights=read" does not say who may do something'],
  ['CN:x', '"CN:x" does not say who may do something'],
  ['address:10.0.0.0/99', '"address:10.0.0.0/99" does not say who may do something'],
  ['toString:x', '"toString:x" does not say who may do something'],
  ['any,rights=all', '"all" in rights=all is not a right: list, read, write, backup, admin'],
  ['any,rights=', '"" in rights= is not a right'],
  ['any,rights', '"rights" is not an option of a rule'],
  ['any,exports=', '"" in exports= is not a pattern'],
  ['any,from=nowhere', '"nowhere" in from=nowhere is not an address'],
  ['any,without-tls=true', '"without-tls=true" is not an option of a rule'],
  ['any,who=cn:x', '"who=cn:x" is not an option of a rule'],
  ['any,', '"" is not an option of a rule'],
])('"%s" is refused', (spec, message) => {
  expect(() => parseAccessSpec(spec)).toThrow(
    expect.objectContaining({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining(message),
      hint: expect.stringContaining(ACCESS_GRAMMAR),
    }),
  );
});

test.each([
  ['user:bob', 'there is no user "bob" in /etc/passwd'],
  ['group:alice', 'there is no group "alice" in /etc/group'],
  ['cn:x,without-tls', 'the rule about cn:x cannot hold without TLS'],
  ['any,without-tls', 'the rule about any cannot hold without TLS'],
  ['local,without-tls', 'the rule about local cannot hold without TLS'],
])('"%s" is refused when users and groups are looked up', (spec, message) => {
  expect(() => ruleOf(parseAccessSpec(spec), accounts)).toThrow(
    expect.objectContaining({ code: 'CONFIG_INVALID', message }),
  );
});

test.each(['user:alice', 'user:1000', 'group:disk', 'group:6', 'local', 'any', 'san:a', 'psk:*', 'address:::1'])(
  '"%s" is a rule',
  (spec) => {
    expect(ruleOf(parseAccessSpec(spec), accounts).who).toHaveLength(1);
  },
);

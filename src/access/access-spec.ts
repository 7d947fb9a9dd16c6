import { CodedError } from '../base/coded-error.js';
import { Given, onOff, readOption, repeated, splitAtSingleCommas, text } from '../base/setting.js';
import type { AccessRule } from './access-rules.js';
import { Glob } from './glob.js';
import { type Right, rights } from './rights.js';
import { type Accounts, isSubject, parseSubject, SUBJECTS, type Subject } from './subject.js';
import { Subnet } from './subnet.js';

/** The options of a rule on the command line. */
const options = {
  rights: repeated(text('RIGHT', `a right: ${rights.join(', ')}`, parseRight)),
  exports: repeated(text('PATTERN', 'a pattern for the names of exports, such as "vm*"', parsePattern)),
  from: repeated(text('ADDRESS[/BITS]', 'an address or a range such as "10.1.0.0/16"', Subnet.parse)),
  'without-tls': onOff(),
};

/** The keys of a rule in the configuration file. Who it is about is looked up later. */
export const accessKeys = {
  who: repeated(text('WHO', SUBJECTS, (given) => (isSubject(given) ? given : undefined))),
  ...options,
};

export const ACCESS_GRAMMAR = 'WHO[,rights=RIGHT]...[,exports=PATTERN]...[,from=ADDRESS[/BITS]]...[,without-tls]';

/** A rule as it was written, before users and groups are looked up. */
export interface AccessSpec extends Omit<AccessRule, 'who'> {
  readonly who: readonly string[];
}

/** The rule with these settings; undefined if it is about nobody. */
export function accessOf(given: Given<typeof accessKeys>): AccessSpec | undefined {
  const who = given.all('who');
  if (who.length === 0) return undefined;
  return {
    who,
    from: given.all('from'),
    exports: given.has('exports') ? given.all('exports') : [new Glob('*')],
    rights: given.has('rights') ? given.all('rights') : ['read'],
    withoutTls: given.last('without-tls') ?? false,
  };
}

/** Parses a rule from the command line. A comma in a name is doubled. @throws CodedError CONFIG_INVALID */
export function parseAccessSpec(spec: string): AccessSpec {
  const given = new Given(accessKeys);
  const [who, ...written] = splitAtSingleCommas(spec);
  if (!given.read('who', who)) refuse(`"${who}" does not say who may do something`);
  for (const option of written) {
    const problem = readOption(given, options, option, 'a rule');
    if (problem !== undefined) refuse(problem);
  }
  return accessOf(given)!;
}

/** Looks up who a rule is about. @throws CodedError CONFIG_INVALID */
export function ruleOf({ who, ...spec }: AccessSpec, accounts: Accounts): AccessRule {
  const subjects = who.map((one) => parseSubject(one, accounts) ?? refuseSubject(one));
  if (spec.withoutTls && !subjects.every(({ isPlace }) => isPlace)) {
    throw new CodedError(
      'CONFIG_INVALID',
      `the rule about ${who.join(', ')} cannot hold without TLS`,
      'without-tls is for rules about address:ADDRESS/BITS alone; the others need TLS, or never come over a network',
    );
  }
  return { who: subjects, ...spec };
}

function parseRight(given: string): Right | undefined {
  return rights.find((right) => right === given);
}

function parsePattern(given: string): Glob | undefined {
  return given === '' ? undefined : new Glob(given);
}

function refuseSubject(who: string): Subject {
  const file = who.startsWith('user:') ? '/etc/passwd' : '/etc/group';
  throw new CodedError('CONFIG_INVALID', `there is no ${who.replace(':', ' "')}" in ${file}`, 'use its number');
}

function refuse(what: string): never {
  throw new CodedError('CONFIG_INVALID', what, `a rule is written ${ACCESS_GRAMMAR}, and WHO is ${SUBJECTS}`);
}

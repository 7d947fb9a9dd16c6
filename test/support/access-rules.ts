import { AccessRules } from '../../src/access/access-rules.js';
import { parseAccessSpec, ruleOf } from '../../src/access/access-spec.js';

const accounts = { uidOf: () => undefined, gidOf: () => undefined };

/** Rules as on the command line, about users and groups by number. */
export function rulesOf(...specs: string[]): AccessRules {
  return new AccessRules(specs.map((spec) => ruleOf(parseAccessSpec(spec), accounts)));
}

import { Glob } from './glob.js';
import { type Identity, isLocal, isProven } from './identity.js';
import { includes, type Right } from './rights.js';
import type { Subject } from './subject.js';
import type { Subnet } from './subnet.js';

/** Gives rights on exports to whoever it is about. Rules only add to each other. */
export interface AccessRule {
  /** One of these. */
  readonly who: readonly Subject[];
  /** From one of these places. Empty: from anywhere. */
  readonly from: readonly Subnet[];
  /** On those that match one of these. */
  readonly exports: readonly Glob[];
  readonly rights: readonly Right[];
  /** It holds for clients of the network that do not use TLS, too. */
  readonly withoutTls: boolean;
}

/**
 * Decides what identities may do. Without a rule about them, NBD clients on this machine may do everything. Nobody else
 * may do anything without a rule.
 */
export class AccessRules {
  /** Whether NBD clients on this machine may do everything because no rule is about them. */
  readonly isLocalOpen: boolean;

  constructor(private readonly rules: readonly AccessRule[]) {
    this.isLocalOpen = !rules.some(isAboutLocal);
  }

  may(identity: Identity, right: Right, exportName: string): boolean {
    return this.judge(identity, right, (glob) => glob.matches(exportName));
  }

  /** Whether it has the right on every export, those that do not exist yet included. */
  mayAll(identity: Identity, right: Right): boolean {
    return this.judge(identity, right, (glob) => glob.matchesAll);
  }

  /** Whether any client of a network could have a right. */
  isOpenToNetwork(hasTls: boolean): boolean {
    return this.rules.some((rule) => (hasTls || rule.withoutTls) && !rule.who.every((who) => who.isAboutLocal));
  }

  /** Whether a rule says that clients at this address need no TLS, because their network is trusted. */
  trustsNetworkOf(identity: Identity): boolean {
    return this.rules.some((rule) => rule.withoutTls && isAbout(rule, { ...identity, over: 'nbd' }));
  }

  private judge(identity: Identity, right: Right, covers: (glob: Glob) => boolean): boolean {
    if (identity.operator) return true;
    // Who sends a token asks for its rights, and for no others.
    const { token } = identity;
    if (token) return gives(token.rights, right) && token.exports.some((pattern) => covers(new Glob(pattern)));
    if (identity.over === 'nbd' && this.isLocalOpen && isLocal(identity)) return true;
    return this.rules.some((rule) => gives(rule.rights, right) && rule.exports.some(covers) && isAbout(rule, identity));
  }
}

function isAboutLocal({ who, from }: AccessRule): boolean {
  return who.some((subject) => subject.isAboutLocal) || from.some((subnet) => subnet.isLoopback);
}

function gives(given: readonly Right[], needed: Right): boolean {
  return given.some((right) => includes(right, needed));
}

function isAbout({ who, from, withoutTls }: AccessRule, identity: Identity): boolean {
  if (!identity.encrypted && !withoutTls && !isLocal(identity)) return false;
  // Any process on a machine, and any page in its browser, has the machine's address. Commands need more than that.
  if (identity.over === 'http' && !isProven(identity)) return false;
  const { from: place } = identity;
  const isFromThere = from.length === 0 || (place.kind === 'tcp' && from.some((subnet) => subnet.has(place.address)));
  return isFromThere && who.some((subject) => subject.matches(identity));
}

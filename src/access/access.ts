import { CodedError } from '../base/coded-error.js';
import type { AccessRules } from './access-rules.js';
import type { Identity } from './identity.js';
import type { Right } from './rights.js';

/** The rules that hold now. A reload replaces them, which changes what later questions answer. */
export class Policy {
  constructor(public current: Pick<AccessRules, 'may' | 'mayAll'> & Partial<Pick<AccessRules, 'trustsNetworkOf'>>) {}
}

/** What one identity may do now. */
export class Access {
  constructor(
    private readonly policy: Policy,
    readonly identity: Identity,
  ) {}

  may(right: Right, exportName: string): boolean {
    return this.policy.current.may(this.identity, right, exportName);
  }

  mayAll(right: Right): boolean {
    return this.policy.current.mayAll(this.identity, right);
  }

  /** Demands one of the rights on an export. @throws CodedError FORBIDDEN */
  demand(anyOf: readonly Right[], exportName: string): void {
    if (!anyOf.some((right) => this.may(right, exportName))) refuse(anyOf, `the export "${exportName}"`);
  }

  /** Demands one of the rights on every export. @throws CodedError FORBIDDEN */
  demandAll(anyOf: readonly Right[]): void {
    if (!anyOf.some((right) => this.mayAll(right))) refuse(anyOf, 'all exports');
  }
}

function refuse(anyOf: readonly Right[], where: string): never {
  throw new CodedError(
    'FORBIDDEN',
    `this needs the right ${anyOf.join(' or ')} on ${where}`,
    'ask the operator of the server for a rule that gives it',
  );
}

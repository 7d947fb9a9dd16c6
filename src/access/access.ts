import type { Identity } from './identity.js';
import type { Right } from './rights.js';

/** Decides what an identity may do. */
export interface AccessRules {
  may(identity: Identity, right: Right, exportName: string): boolean;
  /** On every export, and on those that do not exist yet. */
  mayAll(identity: Identity, right: Right): boolean;
}

/** Everybody may do everything. */
export const openRules: AccessRules = { may: () => true, mayAll: () => true };

/** The rules that hold now. A reload replaces them, which changes what later questions answer. */
export class Policy {
  constructor(public current: AccessRules) {}
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
}

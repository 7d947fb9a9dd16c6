import { createHash, randomBytes } from 'node:crypto';
import type { Identity } from '../../access/identity.js';

const CODE_BYTES = 32;
/** The oldest gives way to a new one. */
const MAX_CODES = 100;

interface Issued {
  readonly maker: Identity;
  /** In milliseconds since 1970. */
  readonly expiresAt: number;
}

/**
 * Codes with which somebody signs in once, in the name of whoever asked for the code. Only hashes of them are kept, in
 * memory, so a restart makes all of them invalid. To look a hash up takes no time that tells anything about a code.
 */
export class SignInCodes {
  private readonly issued = new Map<string, Issued>();

  constructor(private readonly now: () => number = Date.now) {}

  issue(maker: Identity, ttlSeconds: number): { code: string; expiresAt: string } {
    const code = randomBytes(CODE_BYTES).toString('base64url');
    const expiresAt = this.now() + 1000 * ttlSeconds;
    this.issued.set(hashOf(code), { maker, expiresAt });
    // A map keeps the order in which its keys were added.
    if (this.issued.size > MAX_CODES) this.issued.delete(this.issued.keys().next().value!);
    return { code, expiresAt: new Date(expiresAt).toISOString() };
  }

  /** Who made the code, which is used up by this. Undefined if it is unknown, used or too old. */
  redeem(code: string): Identity | undefined {
    const hash = hashOf(code);
    const found = this.issued.get(hash);
    this.issued.delete(hash);
    return found && this.now() < found.expiresAt ? found.maker : undefined;
  }
}

function hashOf(code: string): string {
  return createHash('sha256').update(code).digest('hex');
}

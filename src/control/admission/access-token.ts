import { createHash, randomBytes, randomInt, timingSafeEqual } from 'node:crypto';

/*
 * A token is tm_ID_SECRET. The ID is public: it finds the record of the token. The server keeps only a hash of the secret.
 * SHA-256 without salt is enough, because nobody can search 256 random bits.
 */

const ID_LETTERS = 'abcdefghijkmnpqrstuvwxyz23456789';
const ID_LENGTH = 8;
const SECRET_BYTES = 32;
const FORM = /^tm_([a-z0-9]{8})_([\w-]{43})$/;

export interface NewSecret {
  readonly id: string;
  /** The whole token, as its holder sends it. */
  readonly text: string;
  /** SHA-256 of the secret, in hexadecimal. */
  readonly hash: string;
}

export interface GivenToken {
  readonly id: string;
  readonly secret: string;
}

export function makeSecret(): NewSecret {
  const id = Array.from({ length: ID_LENGTH }, () => ID_LETTERS[randomInt(ID_LETTERS.length)]).join('');
  const secret = randomBytes(SECRET_BYTES).toString('base64url');
  return { id, text: `tm_${id}_${secret}`, hash: digest(secret).toString('hex') };
}

/** Undefined if the text does not have the form of a token. */
export function parseToken(text: string): GivenToken | undefined {
  const [, id, secret] = FORM.exec(text) ?? [];
  return id === undefined || secret === undefined ? undefined : { id, secret };
}

/** Takes the same time whatever the secret is. */
export function hasHash(secret: string, hash: string): boolean {
  return timingSafeEqual(digest(secret), Buffer.from(hash, 'hex'));
}

function digest(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}

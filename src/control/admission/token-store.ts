import { describeIdentity, type Identity } from '../../access/identity.js';
import type { NewToken, Token } from '../../api/token.js';
import { DEFAULT_TOKEN_DAYS, MAX_TOKENS } from '../../api/values.js';
import { CodedError } from '../../base/coded-error.js';
import { Turnstile } from '../../base/turnstile.js';
import { hasHash, makeSecret, type NewSecret, parseToken } from './access-token.js';

const SECONDS_PER_DAY = 24 * 3600;
const MILLISECONDS_PER_DAY = 1000 * SECONDS_PER_DAY;
/** An expired token is kept for some time, so that the log can say that it has expired. */
const KEPT_DAYS = 30;
/** What a secret is compared with when its token does not exist, so that the answer takes as long. */
const NO_HASH = '00'.repeat(32);

/** Most tokens of people who signed in to the page. The oldest gives way to a new one. */
const MAX_PASSING = 100;

/** A token as the server keeps it. `hash` is SHA-256 of its secret, in hexadecimal. */
export interface TokenRecord extends Token {
  readonly hash: string;
  /** It stands for somebody who signed in to the page. */
  readonly passing?: true;
}

/** What became of a token that somebody sent: a valid one, or why it is refused, for the log. */
export type FoundToken = { readonly token: Token } | { readonly refused: string };

interface Change<Result> {
  /** All tokens from then on. */
  readonly next: readonly TokenRecord[];
  readonly result: Result;
}

/** The tokens that this server has made. Every change is durable before it has an effect. */
export class TokenStore {
  private readonly changes = new Turnstile(1);

  /** `save` makes all records durable, or rejects. */
  constructor(
    private records: readonly TokenRecord[],
    private readonly save: (records: readonly TokenRecord[]) => Promise<void>,
    private readonly now: () => number = Date.now,
  ) {}

  /** In the order in which they were made, expired ones included. */
  list(): Token[] {
    return this.records.map(withoutHash);
  }

  /**
   * A token that is made with another one expires with it at the latest. Also returns the text of the token, which nobody
   * can get later. @throws CodedError TOO_MANY_TOKENS, UNAUTHORIZED if the maker's token has ended; what `save` throws
   */
  create(wanted: NewToken, maker: Identity): Promise<{ token: Token; text: string }> {
    return this.make((records, secret) => {
      if (records.filter(({ passing }) => !passing).length >= MAX_TOKENS) {
        const hint = 'remove some with tidemark token remove ID';
        throw new CodedError('TOO_MANY_TOKENS', `there are ${MAX_TOKENS} tokens already`, hint);
      }
      return [...records, this.recordOf(secret, wanted, maker)];
    });
  }

  /**
   * The same for somebody who signs in to the page. Such a token never takes the place of another kind, and is forgotten
   * when it expires. @throws CodedError UNAUTHORIZED if the maker's token has ended; what `save` throws
   */
  createPassing(wanted: NewToken, maker: Identity): Promise<{ token: Token; text: string }> {
    return this.make((records, secret) => {
      const passing = records.filter((record) => record.passing);
      const removed = passing.length >= MAX_PASSING ? familyOf(records, passing[0]!.id) : new Set();
      const made = { ...this.recordOf(secret, wanted, maker), passing: true as const };
      return [...records.filter(({ id }) => !removed.has(id)), made];
    });
  }

  /**
   * From now on the token is refused, and so are those that were made with it. Returns all their IDs.
   * @throws CodedError TOKEN_NOT_FOUND; what `save` throws
   */
  remove(id: string): Promise<string[]> {
    return this.change((records) => {
      if (!records.some((record) => record.id === id)) {
        throw new CodedError('TOKEN_NOT_FOUND', `there is no token ${id}`, 'tidemark token list shows them');
      }
      const removed = familyOf(records, id);
      return { next: records.filter((record) => !removed.has(record.id)), result: [...removed] };
    });
  }

  find(text: string): FoundToken {
    const given = parseToken(text);
    const record = this.records.find(({ id }) => id === given?.id);
    const isSecret = hasHash(given?.secret ?? '', record?.hash ?? NO_HASH);
    if (!record || !isSecret) return { refused: 'unknown token' };
    return this.isOver(record)
      ? { refused: `token ${record.id} expired on ${record.expiresAt}` }
      : { token: withoutHash(record) };
  }

  /** Whether a token with this ID still counts. */
  isValid(id: string): boolean {
    const record = this.records.find((one) => one.id === id);
    return record !== undefined && !this.isOver(record);
  }

  /** `add` returns all records, the new one last. */
  private async make(add: (records: readonly TokenRecord[], secret: NewSecret) => readonly TokenRecord[]) {
    const secret = makeSecret();
    const record = await this.change((records) => {
      const next = add(records, secret);
      return { next, result: next.at(-1)! };
    });
    return { token: withoutHash(record), text: secret.text };
  }

  private recordOf({ id, hash }: NewSecret, wanted: NewToken, maker: Identity): TokenRecord {
    return { ...this.described(id, wanted, maker, this.parentOf(maker)), hash };
  }

  /** The token with which somebody asks for a new one. @throws CodedError UNAUTHORIZED */
  private parentOf({ token }: Identity): Token | undefined {
    if (!token) return undefined;
    const record = this.records.find(({ id }) => id === token.id);
    if (record && !this.isOver(record)) return record;
    throw new CodedError('UNAUTHORIZED', 'the token of the request is not valid any more', 'send another one');
  }

  private described(id: string, wanted: NewToken, maker: Identity, parent: Token | undefined): Token {
    const { rights, exports = ['*'], name, ttlSeconds = DEFAULT_TOKEN_DAYS * SECONDS_PER_DAY } = wanted;
    const now = this.now();
    const ends = [
      ...(ttlSeconds === null ? [] : [now + 1000 * ttlSeconds]),
      ...(parent && parent.expiresAt !== null ? [Date.parse(parent.expiresAt)] : []),
    ];
    return {
      id,
      ...(name === undefined ? {} : { name }),
      rights: [...new Set(rights)],
      exports,
      createdAt: new Date(now).toISOString(),
      expiresAt: ends.length === 0 ? null : new Date(Math.min(...ends)).toISOString(),
      madeBy: maker.operator ? 'the operator' : describeIdentity(maker),
      ...(parent && { parent: parent.id }),
    };
  }

  private isForgotten(record: TokenRecord): boolean {
    return this.isOver(record, record.passing ? 0 : KEPT_DAYS);
  }

  private isOver({ expiresAt }: Token, afterDays = 0): boolean {
    if (expiresAt === null) return false;
    return this.now() >= Date.parse(expiresAt) + afterDays * MILLISECONDS_PER_DAY;
  }

  private change<Result>(make: (records: readonly TokenRecord[]) => Change<Result>): Promise<Result> {
    return this.changes.pass(async () => {
      const { next, result } = make(this.records.filter((record) => !this.isForgotten(record)));
      await this.save(next);
      this.records = next;
      return result;
    });
  }
}

/** The IDs of a token and of those that were made with it. */
function familyOf(records: readonly TokenRecord[], id: string): Set<string> {
  const family = new Set([id]);
  // Each token comes after the one with which it was made.
  for (const { id: own, parent } of records) if (parent !== undefined && family.has(parent)) family.add(own);
  return family;
}

function withoutHash({ hash: _, passing: __, ...token }: TokenRecord): Token {
  return token;
}

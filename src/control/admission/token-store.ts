import type { NewToken, Token } from '../../api/token.js';
import { DEFAULT_TOKEN_DAYS, MAX_TOKENS } from '../../api/values.js';
import { CodedError } from '../../base/coded-error.js';
import { Turnstile } from '../../base/turnstile.js';
import { hasHash, makeSecret, parseToken } from './access-token.js';

const MILLISECONDS_PER_DAY = 24 * 3600 * 1000;
/** An expired token is kept for some time, so that the log can say that it has expired. */
const KEPT_DAYS = 30;
/** What a secret is compared with when its token does not exist, so that the answer takes as long. */
const NO_HASH = '00'.repeat(32);

/** A token as the server keeps it. `hash` is SHA-256 of its secret, in hexadecimal. */
export interface TokenRecord extends Token {
  readonly hash: string;
}

/** What became of a token that somebody sent: a valid one, or why it is refused, for the log. */
export type FoundToken = { readonly token: Token } | { readonly refused: string };

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

  /** Also returns the text of the token, which nobody can get later. @throws CodedError TOO_MANY_TOKENS; what `save` throws */
  async create({ rights, exports = ['*'], name, ttlSeconds }: NewToken): Promise<{ token: Token; text: string }> {
    const { id, text, hash } = makeSecret();
    const now = this.now();
    const lifeMilliseconds =
      ttlSeconds === undefined ? DEFAULT_TOKEN_DAYS * MILLISECONDS_PER_DAY : 1000 * (ttlSeconds ?? 0);
    const record: TokenRecord = {
      id,
      ...(name === undefined ? {} : { name }),
      rights: [...new Set(rights)],
      exports,
      createdAt: new Date(now).toISOString(),
      expiresAt: ttlSeconds === null ? null : new Date(now + lifeMilliseconds).toISOString(),
      hash,
    };
    await this.change((records) => {
      if (records.length < MAX_TOKENS) return [...records, record];
      const hint = 'remove some with tidemark token remove ID';
      throw new CodedError('TOO_MANY_TOKENS', `there are ${MAX_TOKENS} tokens already`, hint);
    });
    return { token: withoutHash(record), text };
  }

  /** From now on the token is refused. @throws CodedError TOKEN_NOT_FOUND; what `save` throws */
  async remove(id: string): Promise<void> {
    await this.change((records) => {
      const others = records.filter((record) => record.id !== id);
      if (others.length < records.length) return others;
      throw new CodedError('TOKEN_NOT_FOUND', `there is no token ${id}`, 'tidemark token list shows them');
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

  private isOver({ expiresAt }: Token, afterDays = 0): boolean {
    if (expiresAt === null) return false;
    return this.now() >= Date.parse(expiresAt) + afterDays * MILLISECONDS_PER_DAY;
  }

  private change(make: (records: readonly TokenRecord[]) => readonly TokenRecord[]): Promise<void> {
    return this.changes.pass(async () => {
      const next = make(this.records.filter((record) => !this.isOver(record, KEPT_DAYS)));
      await this.save(next);
      this.records = next;
    });
  }
}

function withoutHash({ hash: _, ...token }: TokenRecord): Token {
  return token;
}

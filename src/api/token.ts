import { type Static, Type } from '@fastify/type-provider-typebox';
import { List, strict } from './shapes.js';
import { DEFAULT_TOKEN_DAYS, MAX_TOKEN_DAYS, rights } from './values.js';

const SECONDS_PER_DAY = 24 * 3600;
const MAX_NAME_CHARACTERS = 200;
const MAX_PATTERNS = 16;
const MAX_PATTERN_CHARACTERS = 1023;

const Right = Type.Enum(rights, {
  description: 'write includes read, every right includes list, and admin includes all of them',
});
const pattern = Type.String({
  minLength: 1,
  maxLength: MAX_PATTERN_CHARACTERS,
  description: 'Names of exports; * stands for any characters, ? for one',
});

export const NewToken = Type.Object(
  {
    rights: List(Right, { minItems: 1, maxItems: rights.length }),
    exports: Type.Optional(List(pattern, { minItems: 1, maxItems: MAX_PATTERNS, description: 'The default is all' })),
    name: Type.Optional(
      Type.String({ maxLength: MAX_NAME_CHARACTERS, description: 'A note on whom the token is for' }),
    ),
    ttlSeconds: Type.Optional(
      Type.Union([Type.Integer({ minimum: 1, maximum: MAX_TOKEN_DAYS * SECONDS_PER_DAY }), Type.Null()], {
        description: `How long the token is valid; null means until it is removed. The default is ${DEFAULT_TOKEN_DAYS} days`,
      }),
    ),
  },
  strict,
);
/** The token to be made. */
export type NewToken = Readonly<Static<typeof NewToken>>;

export const Token = Type.Object({
  id: Type.String({ description: 'Names the token; it is no secret' }),
  name: Type.Optional(Type.String()),
  rights: List(Right),
  exports: List(Type.String()),
  createdAt: Type.String(),
  expiresAt: Type.Union([Type.String(), Type.Null()], { description: 'Null: it is valid until it is removed' }),
  madeBy: Type.Optional(Type.String({ description: 'Who asked for it' })),
  parent: Type.Optional(
    Type.String({ description: 'The ID of the token with which it was made, and with which it is removed' }),
  ),
});
/** What is known about a token, without its secret. Times are in ISO 8601. */
export type Token = Readonly<Static<typeof Token>>;

export const MadeToken = Type.Object({
  ...Token.properties,
  token: Type.String({ description: 'To be sent as Authorization: Bearer TOKEN. It is shown only here' }),
});
export type MadeToken = Readonly<Static<typeof MadeToken>>;

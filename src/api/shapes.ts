import {
  type Static,
  type TArrayOptions,
  type TLiteral,
  type TSchema,
  type TUnion,
  Type,
} from '@fastify/type-provider-typebox';
import { type ErrorCode, errorTitles } from '../base/coded-error.js';

/** Unknown keys are refused. */
export const strict = { additionalProperties: false };

export const Bytes = (description: string) =>
  Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, description });

type Literals<Values extends readonly (string | number)[]> = {
  -readonly [Index in keyof Values]: TLiteral<Values[Index]>;
};

/** One of several numbers or words. */
export const oneOf = <const Values extends readonly (number | string)[]>(
  values: Values,
  options: { description: string },
) =>
  Type.Union(
    values.map((value) => Type.Literal(value)),
    options,
  ) as unknown as TUnion<Literals<Values>>;

/** An array that nobody changes. */
export const List = <Item extends TSchema>(items: Item, options: TArrayOptions = {}) =>
  Type.Immutable(Type.Array(items, options));

export const Problem = Type.Object(
  {
    type: Type.String({ description: 'Link to the explanation of the code, relative to the documentation' }),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.String({ description: 'What happened' }),
    code: Type.Unsafe<ErrorCode>(
      Type.String({ enum: Object.keys(errorTitles), description: 'Stable, so that callers can branch on it' }),
    ),
    hint: Type.Optional(Type.String({ description: 'How to fix it' })),
    failedAction: Type.Optional(Type.Integer({ description: 'Index of the refused action of a transaction, from 0' })),
  },
  { description: 'An error (RFC 9457)' },
);
export type Problem = Readonly<Static<typeof Problem>>;

/** Describes an answer whose media type is not plain JSON. */
export const answerOf = <Schema extends TSchema>(mediaType: string, description: string, schema: Schema) => ({
  description,
  content: { [mediaType]: { schema } },
});

export const Refusal = answerOf('application/problem+json', 'An error', Problem);

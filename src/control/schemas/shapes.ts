import { type TSchema, Type } from '@fastify/type-provider-typebox';
import { errorTitles } from '../../base/coded-error.js';

/** Unknown keys are refused. */
export const strict = { additionalProperties: false };

export const Bytes = (description: string) =>
  Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, description });

export const Problem = Type.Object(
  {
    type: Type.String({ description: 'Link to the explanation of the code, relative to the documentation' }),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.String({ description: 'What happened' }),
    code: Type.String({ enum: Object.keys(errorTitles), description: 'Stable, so that callers can branch on it' }),
    hint: Type.Optional(Type.String({ description: 'How to fix it' })),
    failedAction: Type.Optional(Type.Integer({ description: 'Index of the refused action of a transaction, from 0' })),
  },
  { description: 'An error (RFC 9457)' },
);

/** Describes an answer whose media type is not plain JSON. */
export const answerOf = <Schema extends TSchema>(mediaType: string, description: string, schema: Schema) => ({
  description,
  content: { [mediaType]: { schema } },
});

export const Refusal = answerOf('application/problem+json', 'An error', Problem);

import { type TSchema, Type } from '@fastify/type-provider-typebox';
import { errorTitles } from '../../base/coded-error.js';

/** Unknown keys are refused. */
export const strict = { additionalProperties: false };

export const Bytes = (description: string) =>
  Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, description });

export const Problem = Type.Object(
  {
    type: Type.String({ description: 'Where the code is explained, relative to the documentation' }),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.String({ description: 'What happened' }),
    code: Type.String({ enum: Object.keys(errorTitles), description: 'Stable: callers branch on it' }),
    hint: Type.Optional(Type.String({ description: 'How to mend it' })),
    failedAction: Type.Optional(Type.Integer({ description: 'Which action of a transaction was refused, from 0' })),
  },
  { description: 'A refusal (RFC 9457)' },
);

/** An answer that is no plain JSON. */
export const answerOf = <Schema extends TSchema>(mediaType: string, description: string, schema: Schema) => ({
  description,
  content: { [mediaType]: { schema } },
});

export const Refusal = answerOf('application/problem+json', 'A refusal', Problem);

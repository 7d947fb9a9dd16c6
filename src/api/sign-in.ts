import { type Static, Type } from '@fastify/type-provider-typebox';
import { strict } from './shapes.js';

const MIN_LINK_SECONDS = 60;
const MAX_LINK_SECONDS = 3600;

export const NewSignInLink = Type.Object(
  {
    ttlSeconds: Type.Optional(
      Type.Integer({
        minimum: MIN_LINK_SECONDS,
        maximum: MAX_LINK_SECONDS,
        description: 'How long the link can be used; the default is 600',
      }),
    ),
  },
  strict,
);

export const SignInLink = Type.Object({
  code: Type.String({ description: 'Signs in once. It is shown only here' }),
  expiresAt: Type.String(),
  url: Type.Optional(
    Type.String({ description: 'The page with the code; missing if the server has no HTTP address with a page' }),
  ),
});
export type SignInLink = Readonly<Static<typeof SignInLink>>;

const MAX_CODE_CHARACTERS = 100;

export const SignIn = Type.Object({ code: Type.String({ maxLength: MAX_CODE_CHARACTERS }) }, strict);

import type { MadeToken } from '../api/token.js';
import { ApiClient, ApiProblem } from './api-client.js';

/** Who looks at the page: the holder of a token, or of a client certificate. */
export interface Session {
  readonly client: ApiClient;
  /** The ID of a token that was made for this session, and ends with it. */
  readonly tokenId?: string;
}

/** The tab keeps it, so that reloading the page signs nobody out. */
const KEY = 'tidemark-session';

interface Kept {
  readonly token: string;
  readonly tokenId?: string;
}

const callServer: typeof fetch = (...given) => fetch(...given);

/** Begins with a sign-in link, a token that the tab knows, or a certificate. Undefined: the user has to sign in. */
export async function resumeSession(): Promise<Session | undefined> {
  const code = takeCode();
  if (code !== undefined) return signInByCode(code);
  const kept = sessionStorage.getItem(KEY);
  if (kept !== null) return sessionOf(JSON.parse(kept) as Kept);
  // Only over TLS can the browser have proved who its user is.
  if (location.protocol !== 'https:') return undefined;
  const client = new ApiClient(callServer, undefined);
  try {
    await client.get('/v1/server');
    return { client };
  } catch (error) {
    if (error instanceof ApiProblem && error.status === 401) return undefined;
    throw error;
  }
}

/** @throws ApiProblem if the token is not valid */
export async function signInByToken(token: string): Promise<Session> {
  const session = sessionOf({ token });
  await session.client.get('/v1/server');
  keep({ token });
  return session;
}

/** Ends the token if it was made for this session. */
export async function signOut({ client, tokenId }: Session): Promise<void> {
  sessionStorage.removeItem(KEY);
  if (tokenId !== undefined) await client.delete(`/v1/tokens/${tokenId}`);
}

export function forgetSession(): void {
  sessionStorage.removeItem(KEY);
}

/** @throws ApiProblem if the link is not valid any more */
async function signInByCode(code: string): Promise<Session> {
  const nobody = new ApiClient(callServer, undefined);
  const { token, id } = await nobody.post<MadeToken>('/v1/sign-in', { code });
  const kept = { token, tokenId: id };
  keep(kept);
  return sessionOf(kept);
}

function sessionOf({ token, tokenId }: Kept): Session {
  const client = new ApiClient(callServer, token);
  return tokenId === undefined ? { client } : { client, tokenId };
}

function keep(kept: Kept): void {
  sessionStorage.setItem(KEY, JSON.stringify(kept));
}

/** The code in the address, which is removed from there at once, so that nobody copies it with the address. */
function takeCode(): string | undefined {
  const [, code] = /^#sign-in=([\w-]+)$/.exec(location.hash) ?? [];
  if (code !== undefined) history.replaceState(null, '', location.pathname);
  return code;
}

import { once } from 'node:events';
import type { RequestOptions } from 'node:http';
import { connect, type Socket } from 'node:net';
import { CodedError } from '../base/coded-error.js';
import type { HostPort } from '../base/host-port.js';
import { readGivenToken } from '../server/http-token.js';
import { secureClient, TlsFaultError } from '../tls/connect.js';
import { loadClientTls, type TlsSettings } from '../tls/tls-settings.js';
import { type CredentialFiles, fromEnvironment, tlsFilesOf } from './credential-files.js';

interface RemoteAddress extends HostPort {
  readonly isEncrypted: boolean;
  /** Chooses a key of the file of keys. */
  readonly username: string | undefined;
}

/**
 * Reads the secrets, and returns what requests need. Each request has its own connection: on a connection that was kept,
 * the server may hang up while a request is on its way, and one that begins a backup must not be repeated.
 */
export async function prepare(address: RemoteAddress, files: CredentialFiles): Promise<RequestOptions> {
  const { host, port, isEncrypted, username } = address;
  const token = await readToken(files.tokenFile);
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  if (!isEncrypted) return { host, port, headers, agent: false };
  const settings = await loadClientTls({ ...tlsFilesOf(files), username });
  return {
    host,
    port,
    headers,
    createConnection: (_options, done) => {
      const raw = connect({ host, port });
      secured(raw, settings, host).then(
        (socket) => done(null, socket),
        (error) => done(error, raw),
      );
      return undefined;
    },
  };
}

async function secured(raw: Socket, settings: TlsSettings, hostname: string): Promise<Socket> {
  await once(raw, 'connect');
  try {
    return await secureClient(raw, settings, { hostname, verification: 'name' });
  } catch (error) {
    // Without the code, which would say that a request may have been lost.
    if (!(error instanceof TlsFaultError))
      throw new Error('the connection broke before TLS was ready', { cause: error });
    throw error;
  }
}

/** From a file, or from the environment. @throws CodedError CONFIG_INVALID */
async function readToken(given: string | undefined): Promise<string | undefined> {
  const variable = 'TIDEMARK_TOKEN_FILE';
  const path = given ?? fromEnvironment(variable);
  if (path !== undefined) return readGivenToken(path, given === undefined ? `$${variable}` : '--token-file');
  const token = fromEnvironment('TIDEMARK_TOKEN');
  if (token === undefined || /^[\x20-\x7e]+$/.test(token)) return token;
  const what = '$TIDEMARK_TOKEN contains several lines or non-ASCII characters';
  throw new CodedError('CONFIG_INVALID', what, 'set it to the token alone');
}

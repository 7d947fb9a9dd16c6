import { type RequestOptions, request } from 'node:http';
import { text } from 'node:stream/consumers';
import { CodedError } from '../base/coded-error.js';
import { formatHostPort, isLoopback } from '../base/host-port.js';
import { controlSocketIn, defaultStateDirectory } from '../base/places.js';
import type { ServerFault } from '../tls/server-faults.js';
import type { CredentialFiles } from './credential-files.js';

/** Where a server takes commands. */
export interface ControlPlace {
  /** As messages call it. */
  readonly name: string;
  /** Whether paths of files mean something else there. */
  readonly isRemote: boolean;
  /** What a request needs to get there. Rejects if the secrets that it needs cannot be read. */
  readonly connect: () => Promise<RequestOptions>;
  /** What the user can do when the server hangs up in place of an answer. */
  readonly afterHangUp: string;
  /** Why there is no connection, for the user. */
  readonly explain: (error: NodeJS.ErrnoException) => CodedError;
}

/** The place that `--control` names, or the usual one. @throws CodedError USAGE_INVALID */
export function controlPlace(given: string | undefined, files: CredentialFiles): ControlPlace {
  const named = given ?? (process.env.TIDEMARK_CONTROL || controlSocketIn(defaultStateDirectory()));
  return /^https?:/i.test(named) ? remotePlace(named, files) : unixPlace(named);
}

const UNKNOWN_EFFECT = 'the command may or may not have taken effect: check when the server is back, then repeat it';

export function unixPlace(socketPath: string): ControlPlace {
  return {
    name: socketPath,
    isRemote: false,
    afterHangUp: UNKNOWN_EFFECT,
    connect: async () => ({ socketPath, agent: false }),
    explain({ code, message }) {
      const why = code === 'ENOENT' || code === 'ECONNREFUSED' ? '' : `: ${code ?? message}`;
      const hint = code === 'EACCES' ? 'run this as the user that the server runs as' : howToReach(socketPath);
      return new CodedError('NO_SERVER', `no server answers on ${socketPath}${why}`, hint);
    },
  };
}

function howToReach(socketPath: string): string {
  return /^[^/]+:\d+$/.test(socketPath)
    ? `give an address as https://${socketPath}`
    : 'start one with tidemark serve, or give its control socket with --control';
}

const FORM = 'expected https://HOST:PORT, or http://127.0.0.1:PORT on the same machine';

/** A user in the URL chooses a key of the file of keys. */
function remotePlace(given: string, files: CredentialFiles): ControlPlace {
  const refuse = (why: string, hint = FORM): never => {
    throw new CodedError('USAGE_INVALID', `--control ${given} ${why}`, hint);
  };
  const url = URL.canParse(given) ? new URL(given) : refuse('is not a URL');
  if (url.password !== '') {
    throw new CodedError(
      'USAGE_INVALID',
      'the URL of --control has a password',
      'put secrets into files: --token-file',
    );
  }
  if (url.pathname !== '/' || url.search !== '' || url.hash !== '') refuse('is more than an address');
  const isEncrypted = url.protocol === 'https:';
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const port = Number(url.port || (isEncrypted ? 443 : 80));
  if (!isEncrypted && !isLoopback(host)) {
    refuse('is not encrypted, so the network could read the token', 'use https://, and --tls-certificates if needed');
  }
  const name = `${url.protocol}//${formatHostPort({ host, port })}`;
  // Loaded on use, because most commands talk to a server on the same machine.
  const remote = () => import('./remote-control.js');
  let ready: Promise<RequestOptions> | undefined;
  return {
    name,
    isRemote: !isLoopback(host),
    afterHangUp: `${UNKNOWN_EFFECT}; if this happens every time, the log of the server says why`,
    connect: () => {
      const username = url.username === '' ? undefined : decodeURIComponent(url.username);
      ready ??= remote().then(({ prepare }) => prepare({ host, port, isEncrypted, username }, files));
      return ready;
    },
    explain: (error) => explainRemote(name, error),
  };
}

function explainRemote(name: string, error: NodeJS.ErrnoException): CodedError {
  const { code, message, cause } = error;
  // Known by its shape, because the module with its class is loaded only where it is needed.
  if ('fault' in error) {
    const { problem, hint } = error.fault as ServerFault;
    return new CodedError('TLS_UNUSABLE', `${problem} (${name})`, hint, { cause });
  }
  const reason = code === 'ECONNREFUSED' ? '' : `: ${code ?? message}`;
  const hint = 'start it with tidemark serve --http HOST:PORT, and check the address';
  return new CodedError('NO_SERVER', `no server answers on ${name}${reason}`, hint);
}

export interface PlainAnswer {
  readonly status: number;
  readonly content: string;
}

/** Sends one request on its own connection. Rejects with the error of the connection. */
export function askOnce(options: RequestOptions, body: object | undefined): Promise<PlainAnswer> {
  return new Promise((resolve, reject) => {
    const asked = request(options, (answer) => {
      text(answer).then((content) => resolve({ status: answer.statusCode!, content }), reject);
    });
    asked.on('error', reject);
    if (body) asked.setHeader('content-type', 'application/json');
    asked.end(body && JSON.stringify(body));
  });
}

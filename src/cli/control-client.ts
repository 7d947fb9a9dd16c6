import { Client, type Dispatcher } from 'undici';
import { CodedError, type ErrorCode } from '../base/coded-error.js';
import { controlSocketIn, defaultStateDirectory } from '../base/places.js';

/** What a failed answer of the control API says. */
interface Problem {
  readonly code: ErrorCode;
  readonly detail: string;
  readonly hint?: string;
}

type Method = 'GET' | 'POST' | 'DELETE';

/** Codes of the errors of a connection that was there, and broke. */
const hungUp = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE']);

/** Where the control API is unless `--control` says so. */
export function defaultControlPath(): string {
  return process.env.TIDEMARK_CONTROL || controlSocketIn(defaultStateDirectory());
}

/** Talks to the control API of the server that listens on a unix socket. */
export class ControlClient {
  constructor(private readonly socketPath: string) {}

  get<Answer>(...path: string[]): Promise<Answer> {
    return this.call('GET', path);
  }

  post<Answer>(path: readonly string[], body?: object): Promise<Answer> {
    return this.call('POST', path, body);
  }

  delete(path: readonly string[], query: Readonly<Record<string, string>> = {}): Promise<void> {
    return this.call('DELETE', path, undefined, query);
  }

  /** @throws CodedError, the server's or NO_SERVER */
  private async call<Answer>(
    method: Method,
    path: readonly string[],
    body?: object,
    query: Readonly<Record<string, string>> = {},
  ): Promise<Answer> {
    const { socketPath } = this;
    const client = new Client('http://tidemark', { socketPath, headersTimeout: 0, bodyTimeout: 0 });
    try {
      const json = body && { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } };
      const request = { method, path: `/v1/${path.map(encodeURIComponent).join('/')}`, query, ...json };
      const { statusCode, text } = await ask(client, request).catch((error: NodeJS.ErrnoException) => {
        throw hungUp.has(error.code ?? '') ? this.lostServer() : this.noServer(error);
      });
      if (statusCode >= 400) throw toError(JSON.parse(text) as Problem);
      return (text === '' ? undefined : JSON.parse(text)) as Answer;
    } finally {
      await client.close();
    }
  }

  private lostServer(): CodedError {
    return new CodedError(
      'NO_SERVER',
      `the server on ${this.socketPath} hung up before it answered`,
      'what you asked for may have been done or not: look once it is back, before you ask again',
    );
  }

  private noServer({ code, message }: NodeJS.ErrnoException): CodedError {
    const why = code === 'ENOENT' || code === 'ECONNREFUSED' ? '' : `: ${code ?? message}`;
    const hint =
      code === 'EACCES'
        ? 'run this as the user whom the server runs as'
        : 'start one with tidemark serve, or say with --control where it takes commands';
    return new CodedError('NO_SERVER', `no server answers on ${this.socketPath}${why}`, hint);
  }
}

async function ask(client: Client, request: Dispatcher.RequestOptions) {
  const { statusCode, body } = await client.request(request);
  return { statusCode, text: await body.text() };
}

function toError({ code, detail, hint }: Problem): CodedError {
  return new CodedError(code, detail, hint);
}

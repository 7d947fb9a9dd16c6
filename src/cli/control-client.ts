import { type RequestOptions, request } from 'node:http';
import { text } from 'node:stream/consumers';
import type { Problem } from '../api/shapes.js';
import { CodedError } from '../base/coded-error.js';
import { controlSocketIn, defaultStateDirectory } from '../base/places.js';

type Method = 'GET' | 'POST' | 'DELETE';

/** System error codes of a connection that was established, then broke. */
const hungUp = new Set(['ECONNRESET', 'EPIPE']);

/** The control socket to use without `--control`. */
export function defaultControlPath(): string {
  return process.env.TIDEMARK_CONTROL || controlSocketIn(defaultStateDirectory());
}

/** Talks to a server's control API over its unix socket. */
export class ControlClient {
  constructor(
    private readonly socketPath: string,
    private readonly signal?: AbortSignal,
  ) {}

  /** The same client, whose calls end with NO_SERVER when `signal` aborts. */
  until(signal: AbortSignal): ControlClient {
    return new ControlClient(this.socketPath, signal);
  }

  get<Answer>(...path: string[]): Promise<Answer> {
    return this.call('GET', path);
  }

  post<Answer>(path: readonly string[], body?: object): Promise<Answer> {
    return this.call('POST', path, body);
  }

  delete(path: readonly string[], query: Readonly<Record<string, string>> = {}): Promise<void> {
    return this.call('DELETE', path, undefined, query);
  }

  /** @throws CodedError: the error that the server returned, or NO_SERVER */
  private async call<Answer>(
    method: Method,
    path: readonly string[],
    body?: object,
    query: Readonly<Record<string, string>> = {},
  ): Promise<Answer> {
    const search = new URLSearchParams(query).toString();
    const options: RequestOptions = {
      socketPath: this.socketPath,
      method,
      path: `/v1/${path.map(encodeURIComponent).join('/')}${search && `?${search}`}`,
      agent: false,
      ...(this.signal && { signal: this.signal }),
    };
    const { status, content } = await ask(options, body).catch((error: NodeJS.ErrnoException) => {
      throw hungUp.has(error.code ?? '') ? this.lostServer() : this.noServer(error);
    });
    const answer = this.parse(content);
    if (status < 400) return answer as Answer;
    const { code, detail, hint } = (answer ?? {}) as Partial<Problem>;
    if (code === undefined || detail === undefined) throw this.otherServer();
    throw new CodedError(code, detail, hint);
  }

  private parse(content: string): unknown {
    try {
      return content === '' ? undefined : JSON.parse(content);
    } catch {
      throw this.otherServer();
    }
  }

  private otherServer(): CodedError {
    const hint = 'give the control socket of a tidemark server with --control';
    return new CodedError('NO_SERVER', `what answers on ${this.socketPath} is not a tidemark server`, hint);
  }

  private lostServer(): CodedError {
    return new CodedError(
      'NO_SERVER',
      `the server on ${this.socketPath} closed the connection before it answered`,
      'the command may or may not have taken effect: check when the server is back, then repeat it',
    );
  }

  private noServer({ code, message }: NodeJS.ErrnoException): CodedError {
    const why = code === 'ENOENT' || code === 'ECONNREFUSED' ? '' : `: ${code ?? message}`;
    const hint =
      code === 'EACCES'
        ? 'run this as the user that the server runs as'
        : 'start one with tidemark serve, or give its control socket with --control';
    return new CodedError('NO_SERVER', `no server answers on ${this.socketPath}${why}`, hint);
  }
}

/** Sends one request on its own connection. Rejects with the error of the connection. */
function ask(options: RequestOptions, body: object | undefined): Promise<{ status: number; content: string }> {
  return new Promise((resolve, reject) => {
    const asked = request(options, (answer) => {
      text(answer).then((content) => resolve({ status: answer.statusCode!, content }), reject);
    });
    asked.on('error', reject);
    if (body) asked.setHeader('content-type', 'application/json');
    asked.end(body && JSON.stringify(body));
  });
}

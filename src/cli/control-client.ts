import type { Problem } from '../api/shapes.js';
import { CodedError } from '../base/coded-error.js';
import { askOnce, type ControlPlace } from './control-place.js';

type Method = 'GET' | 'POST' | 'DELETE';

type Query = Readonly<Record<string, string>>;

/** System error codes of a connection that was established, then broke. */
const hungUp = new Set(['ECONNRESET', 'EPIPE']);

/** Talks to a server's control API. */
export class ControlClient {
  constructor(
    readonly place: ControlPlace,
    private readonly signal?: AbortSignal,
  ) {}

  /** The same client, whose calls end with NO_SERVER when `signal` aborts. */
  until(signal: AbortSignal): ControlClient {
    return new ControlClient(this.place, signal);
  }

  get<Answer>(...path: string[]): Promise<Answer> {
    return this.call('GET', path);
  }

  /** GET with a query. */
  find<Answer>(path: readonly string[], query: Query): Promise<Answer> {
    return this.call('GET', path, undefined, query);
  }

  post<Answer>(path: readonly string[], body?: object): Promise<Answer> {
    return this.call('POST', path, body);
  }

  delete(path: readonly string[], query: Query = {}): Promise<void> {
    return this.call('DELETE', path, undefined, query);
  }

  /** @throws CodedError: the error that the server returned, or NO_SERVER */
  private async call<Answer>(
    method: Method,
    path: readonly string[],
    body?: object,
    query: Query = {},
  ): Promise<Answer> {
    const search = new URLSearchParams(query).toString();
    const options = {
      ...(await this.place.connect()),
      method,
      path: `/v1/${path.map(encodeURIComponent).join('/')}${search && `?${search}`}`,
      ...(this.signal && { signal: this.signal }),
    };
    const { status, content } = await askOnce(options, body).catch((error: NodeJS.ErrnoException) => {
      throw hungUp.has(error.code ?? '') ? this.lostServer() : this.place.explain(error);
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
    const hint = 'give the control socket or the address of a tidemark server with --control';
    return new CodedError('NO_SERVER', `what answers on ${this.place.name} is not a tidemark server`, hint);
  }

  private lostServer(): CodedError {
    return new CodedError(
      'NO_SERVER',
      `the server on ${this.place.name} closed the connection before it answered`,
      this.place.afterHangUp,
    );
  }
}

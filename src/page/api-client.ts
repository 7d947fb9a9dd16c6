import type { Problem } from '../api/shapes.js';

/** What the server answered instead of what it was asked for. */
export class ApiProblem extends Error {
  constructor(
    readonly status: number,
    private readonly problem: Partial<Problem>,
  ) {
    super(problem.detail ?? `the server answered with status ${status}`);
  }

  /** How to fix it; empty if the server does not say. */
  get hint(): string {
    return this.problem.hint ?? '';
  }
}

type Method = 'GET' | 'POST' | 'DELETE';
type Fields = Readonly<Record<string, string>>;

/** Talks to the API of the server that the page came from. Calls reject with ApiProblem, or with the error of `fetch`. */
export class ApiClient {
  constructor(
    private readonly send: typeof fetch,
    /** Without one, only a client certificate says who the user is. */
    private readonly token: string | undefined,
  ) {}

  async get<Answer>(path: string, signal?: AbortSignal): Promise<Answer> {
    return (await this.open(path, signal)).json() as Promise<Answer>;
  }

  async post<Answer>(path: string, body: object): Promise<Answer> {
    return (await this.ask('POST', path, { body: JSON.stringify(body) })).json() as Promise<Answer>;
  }

  async delete(path: string): Promise<void> {
    await this.ask('DELETE', path, {});
  }

  /** An answer that is read by the caller. */
  open(path: string, signal?: AbortSignal, headers: Fields = {}): Promise<Response> {
    return this.ask('GET', path, signal ? { signal } : {}, headers);
  }

  private async ask(method: Method, path: string, options: RequestInit, given: Fields = {}): Promise<Response> {
    const headers: Record<string, string> = { ...given };
    if (this.token !== undefined) headers.authorization = `Bearer ${this.token}`;
    if (options.body !== undefined) headers['content-type'] = 'application/json';
    const answer = await this.send(path, { ...options, method, headers });
    if (answer.ok) return answer;
    throw new ApiProblem(answer.status, (await answer.json().catch(() => ({}))) as Partial<Problem>);
  }
}

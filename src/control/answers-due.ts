import type { ServerResponse } from 'node:http';
import type { preHandlerHookHandler } from 'fastify';

/** The requests that have been received in full and have not been answered yet. */
export class AnswersDue {
  private readonly responses = new Set<ServerResponse>();

  readonly watch: preHandlerHookHandler = (_request, { raw }, done) => {
    this.responses.add(raw);
    raw.once('close', () => this.responses.delete(raw));
    done();
  };

  get any(): boolean {
    return [...this.responses].some(({ headersSent }) => !headersSent);
  }
}

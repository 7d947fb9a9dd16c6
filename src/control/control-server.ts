import type { AddressInfo, Server } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { isLoopback } from '../base/loopback.js';
import { forOwnerAlone } from '../posix/for-owner-alone.js';
import { AnswersDue } from './answers-due.js';
import { type ApiOptions, buildControlApi } from './control-api.js';
import type { ControlHost } from './control-host.js';
import type { HttpLimits } from './http-server.js';
import { refuseForeign } from './refuse-foreign.js';
import { demandToken } from './token.js';

const PATIENCE_MILLISECONDS = 5000;

/** The control API on its addresses. */
export class ControlServer {
  private readonly apis: FastifyInstance[] = [];
  private readonly answersDue = new AnswersDue();

  constructor(
    private readonly host: ControlHost,
    private readonly patienceMilliseconds = PATIENCE_MILLISECONDS,
    private readonly limits?: HttpLimits,
  ) {}

  /** Makes a socket that only its owner can use. Rejects as net.Server does. */
  async listenUnix(path: string): Promise<void> {
    const { server } = await this.api();
    const bound = this.bound(server);
    forOwnerAlone(() => server.listen({ path }));
    await bound;
  }

  /**
   * With a token every request must carry it, but for health and metrics; `undefined` opens those two routes alone.
   * Rejects as net.Server does.
   */
  async listenTcp(host: string, port: number, token: string | undefined): Promise<AddressInfo> {
    // Whoever opens these routes to other machines lets them call this one by any name.
    const open = isLoopback(host) ? refuseForeign : undefined;
    const options = token === undefined ? { admit: open, metricsOnly: true } : { admit: demandToken(token, open) };
    const { server } = await this.api(options);
    const bound = this.bound(server);
    server.listen({ host, port });
    await bound;
    return server.address() as AddressInfo;
  }

  /**
   * Takes no more requests and answers those it works on, however long that takes; then hangs up on clients that send or
   * read too slowly.
   */
  async close(): Promise<void> {
    const hangUp = () => {
      if (this.answersDue.any) return;
      for (const { server } of this.apis) server.closeAllConnections();
    };
    const timer = setInterval(hangUp, this.patienceMilliseconds);
    await Promise.all(this.apis.map((api) => api.close())).finally(() => clearInterval(timer));
  }

  private async api(options: ApiOptions = {}): Promise<FastifyInstance> {
    const api = await buildControlApi(this.host, { ...options, answersDue: this.answersDue, limits: this.limits });
    this.apis.push(api);
    await api.ready();
    return api;
  }

  private async bound(server: Server): Promise<void> {
    await new Promise<void>((resolve, reject) => server.once('listening', resolve).once('error', reject));
    // Such as no descriptor for a client: nobody else would listen, and the process would end.
    server.on('error', (err) => this.host.log.error({ err }, 'an address of the control API failed'));
  }
}

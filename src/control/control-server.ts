import type { AddressInfo, Server } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { isLoopback } from '../base/host-port.js';
import { forOwnerAlone } from '../posix/for-owner-alone.js';
import { type ApiOptions, buildControlApi } from './control-api.js';
import type { ControlHost } from './control-host.js';
import type { HttpLimits } from './http-server.js';
import { AnswersDue } from './http-server.js';
import { refuseForeign } from './refuse-foreign.js';
import { demandToken } from './token.js';

const PATIENCE_MILLISECONDS = 5000;

/** Serves the control API on a unix socket and, when asked to, over TCP. */
export class ControlServer {
  private readonly apis: FastifyInstance[] = [];
  private readonly answersDue = new AnswersDue();

  constructor(
    private readonly host: ControlHost,
    private readonly patienceMilliseconds = PATIENCE_MILLISECONDS,
    private readonly limits?: HttpLimits,
  ) {}

  /** Listens on a new unix socket that only its owner can use. Rejects as net.Server does. */
  async listenUnix(path: string): Promise<void> {
    const { server } = await this.api();
    const bound = this.bound(server);
    forOwnerAlone(() => server.listen({ path }));
    await bound;
  }

  /**
   * With a token, every request except those for health and metrics must carry it. Without one, only these two routes are
   * served. Rejects as net.Server does.
   */
  async listenTcp(host: string, port: number, token: string | undefined): Promise<AddressInfo> {
    // An address that other machines can reach may be called by any host name.
    const open = isLoopback(host) ? refuseForeign : undefined;
    const options = token === undefined ? { admit: open, metricsOnly: true } : { admit: demandToken(token, open) };
    const { server } = await this.api(options);
    const bound = this.bound(server);
    server.listen({ host, port });
    await bound;
    return server.address() as AddressInfo;
  }

  /**
   * Refuses new requests and waits, for as long as it takes, until the pending ones are answered. Then hangs up on
   * clients that send or read too slowly.
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
    // For example, no descriptor is left for a client. An error event without a listener would end the process.
    server.on('error', (err) => this.host.log.error({ err }, 'a listening socket of the control API failed'));
  }
}

import type { AddressInfo } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { buildControlApi } from './control-api.js';
import type { ControlHost } from './control-host.js';

const ONLY_FOR_THE_OWNER = 0o177;
const CLOSING_SECONDS = 5;

/** The control API on its addresses. */
export class ControlServer {
  private readonly apis: FastifyInstance[] = [];

  constructor(private readonly host: ControlHost) {}

  /** Makes a socket that only its owner can use. Rejects as net.Server does. */
  async listenUnix(path: string): Promise<void> {
    const { server } = await this.api();
    const bound = new Promise<void>((resolve, reject) => server.once('listening', resolve).once('error', reject));
    // The socket is made within this call, so no other file is.
    const before = process.umask(ONLY_FOR_THE_OWNER);
    server.listen({ path });
    process.umask(before);
    await bound;
  }

  /** With a token, every request must carry it. Rejects as net.Server does. */
  async listenTcp(host: string, port: number, token: string | undefined): Promise<AddressInfo> {
    const api = await this.api(token);
    await api.listen({ host, port });
    return api.server.address() as AddressInfo;
  }

  /** Takes no more requests, finishes those in flight, and hangs up on clients that are not done soon. */
  async close(): Promise<void> {
    const hangUp = () => {
      for (const { server } of this.apis) server.closeAllConnections();
    };
    const timer = setTimeout(hangUp, CLOSING_SECONDS * 1000);
    await Promise.all(this.apis.map((api) => api.close())).finally(() => clearTimeout(timer));
  }

  private async api(token?: string): Promise<FastifyInstance> {
    const api = await buildControlApi(this.host, token);
    this.apis.push(api);
    await api.ready();
    return api;
  }
}

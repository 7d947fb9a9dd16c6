import type { Server as HttpServer } from 'node:http';
import type { AddressInfo, Server, Socket } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { isLoopback } from '../base/host-port.js';
import { forOwnerAlone } from '../posix/for-owner-alone.js';
import { TlsDoor, type TlsProof } from '../tls/door.js';
import type { TlsSettings } from '../tls/tls-settings.js';
import { authenticateNobody, authenticateOverTcp } from './admission/authenticate.js';
import { FrontDoor } from './admission/front-door.js';
import { turnAway } from './admission/turn-away.js';
import { type ApiOptions, buildControlApi } from './control-api.js';
import type { ControlHost } from './control-host.js';
import { AnswersDue, httpLimits } from './http-server.js';
import { SilentConnections } from './silent-connections.js';

const PATIENCE_MILLISECONDS = 5000;
/** Long enough to read a request that a client has sent already. */
const SILENCE_MILLISECONDS = 200;

/** A TCP address of the API. */
export interface HttpPlace {
  readonly host: string;
  /** 0 means any free port. */
  readonly port: number;
  /** The operator's token. Without one, only health and metrics are served. */
  readonly token: string | undefined;
  readonly tls: HttpTls | undefined;
}

export interface HttpTls {
  readonly settings: TlsSettings;
  /** Whether clients on this machine have to use TLS too. Others always have to. */
  readonly isRequired: boolean;
}

/** Serves the control API on a unix socket and, when asked to, over TCP. */
export class ControlServer {
  private readonly apis: FastifyInstance[] = [];
  private readonly answersDue = new AnswersDue();
  private readonly operatorTokens: { current: string }[] = [];
  private readonly tlsDoors: TlsDoor[] = [];
  private readonly frontDoors: FrontDoor[] = [];
  private readonly silent: SilentConnections[] = [];
  private readonly proofs = new WeakMap<Socket, TlsProof>();

  constructor(
    private readonly host: ControlHost,
    private readonly patienceMilliseconds = PATIENCE_MILLISECONDS,
    private readonly limits = httpLimits,
  ) {}

  /** Listens on a new unix socket that only its owner can use. Rejects as net.Server does. */
  async listenUnix(path: string): Promise<void> {
    const { server } = await this.api();
    const bound = this.bound(server);
    forOwnerAlone(() => server.listen({ path }));
    await bound;
  }

  /** Returns the address. Rejects as net.Server does. */
  async listenTcp({ host, port, token, tls }: HttpPlace): Promise<AddressInfo> {
    const { server } = await this.api(this.overTcp(isLoopback(host), token));
    if (tls) this.openFrontDoor(server as HttpServer, tls);
    turnAway(server, this.limits, this.host);
    const bound = this.bound(server);
    server.listen({ host, port });
    await bound;
    return server.address() as AddressInfo;
  }

  /** From now on. Open connections stay as they are. */
  useTls(settings: TlsSettings): void {
    for (const door of this.tlsDoors) door.use(settings);
  }

  /** Takes this token of the operator from now on, where it took another one. */
  useToken(token: string): void {
    for (const one of this.operatorTokens) one.current = token;
  }

  /**
   * Refuses new requests and waits, for as long as it takes, until the pending ones are answered. Then hangs up on
   * clients that send or read too slowly.
   */
  async close(): Promise<void> {
    const hangUp = () => {
      for (const door of this.frontDoors) door.hangUp();
      if (this.answersDue.any) return;
      for (const { server } of this.apis) server.closeAllConnections();
    };
    const timer = setInterval(hangUp, this.patienceMilliseconds);
    const closed = this.apis.map((api) => api.close());
    for (const door of this.frontDoors) door.hangUp();
    const silence = setTimeout(() => {
      for (const one of this.silent) one.hangUp();
    }, SILENCE_MILLISECONDS);
    await Promise.all(closed).finally(() => {
      clearInterval(timer);
      clearTimeout(silence);
    });
  }

  private overTcp(isLoopbackAddress: boolean, token: string | undefined): ApiOptions {
    const proofOf = (socket: Socket) => this.proofs.get(socket);
    const address = { isLoopback: isLoopbackAddress, proofOf };
    if (token === undefined) return { authenticate: authenticateNobody(address), metricsOnly: true };
    const operatorToken = { current: token };
    this.operatorTokens.push(operatorToken);
    const { tokens, policy, refusals } = this.host;
    return { authenticate: authenticateOverTcp({ operatorToken, tokens, policy, refusals, ...address }) };
  }

  private openFrontDoor(server: HttpServer, { settings, isRequired }: HttpTls): void {
    const { headersMilliseconds } = this.limits;
    const door = new TlsDoor(settings, headersMilliseconds);
    this.tlsDoors.push(door);
    const { proofs } = this;
    const { refusals } = this.host;
    const terms = { door, isRequired, proofs, refusals, firstByteMilliseconds: headersMilliseconds };
    this.frontDoors.push(new FrontDoor(server, terms));
  }

  private async api(options: ApiOptions = {}): Promise<FastifyInstance> {
    const api = await buildControlApi(this.host, { ...options, answersDue: this.answersDue, limits: this.limits });
    this.apis.push(api);
    this.silent.push(new SilentConnections(api.server));
    await api.ready();
    return api;
  }

  private async bound(server: Server): Promise<void> {
    await new Promise<void>((resolve, reject) => server.once('listening', resolve).once('error', reject));
    // For example, no descriptor is left for a client. An error event without a listener would end the process.
    server.on('error', (err) => this.host.log.error({ err }, 'a listening socket of the control API failed'));
  }
}

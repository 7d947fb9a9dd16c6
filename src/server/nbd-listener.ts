import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import type { Policy } from '../access/access.js';
import { Refusals } from '../access/refusals.js';
import { assert } from '../base/assert.js';
import type { Log } from '../base/log.js';
import { MIB } from '../base/units.js';
import type { ExportRegistry } from '../export/registry.js';
import { forOwnerAlone } from '../posix/for-owner-alone.js';
import type { Posix } from '../posix/posix-calls.js';
import { isUnixSocket, plainDescriptorOf } from '../posix/socket-descriptor.js';
import { BusyPoller } from '../session/busy-poller.js';
import { BusyThreads, servedTimesOf } from '../session/busy-threads.js';
import { Connection, type ConnectionHost, type Peer } from '../session/connection.js';
import { MemoryBudget, type MemoryUse, partsOf } from '../session/memory-budget.js';
import { PassClock } from '../session/pass-clock.js';
import { PiecePool } from '../session/piece-pool.js';
import { ClientThreads } from '../session/threads/client-threads.js';
import { TlsDoor } from '../tls/door.js';
import type { TlsMode } from '../tls/tls-mode.js';
import type { TlsSettings } from '../tls/tls-settings.js';
import { makeRoom } from './make-room.js';
import { peerOf } from './peer.js';

export interface NbdLimits {
  /** The most clients at a time, over all exports. Further clients are turned away. */
  readonly maxConnections: number;
  readonly handshakeTimeoutSeconds: number;
  /** How long to poll for the next request while a client is busy. 0: never. */
  readonly busyPollMicroseconds: number;
  /** Memory that all clients share, in addition to the memory of each client. */
  readonly memoryBudgetBytes: number;
  /** How many threads serve clients, the main thread included. */
  readonly threads: number;
}

export interface NbdListenerOptions {
  readonly exports: ExportRegistry;
  readonly policy: Policy;
  readonly refusals?: Refusals;
  readonly log: Log;
  readonly limits: NbdLimits;
  /** Native calls, if they are available. */
  readonly posix?: Posix | undefined;
}

/**
 * For unix sockets. Their default of 208 KiB is too small for a large reply: the kernel would wake the server up in the
 * middle of each reply, and only after three quarters were read. TCP adjusts its buffers itself.
 */
const UNIX_SEND_BUFFER_BYTES = 2 * MIB;

/** Accepts NBD clients, on any number of addresses, until it is drained. */
export class NbdListener {
  private readonly servers: Server[] = [];
  private readonly threads: ClientThreads;
  private readonly connections = new Set<Connection>();
  private readonly host: ConnectionHost;
  private readonly log: Log;
  private readonly maxConnections: number;

  private readonly posix: Posix | undefined;

  constructor({ exports, policy, log, limits, posix, refusals = new Refusals(log) }: NbdListenerOptions) {
    this.log = log;
    this.posix = posix;
    this.maxConnections = limits.maxConnections;
    const { memoryBudgetBytes, busyPollMicroseconds } = limits;
    const memoryParts = partsOf(limits.threads);
    const servedTimes = servedTimesOf(limits.threads);
    const count = limits.threads - 1;
    const clock = new PassClock();
    const shared = { memoryBudgetBytes, memoryParts, busyPollMicroseconds, servedTimes };
    this.threads = new ClientThreads({ count, ...shared, posix, log });
    this.host = {
      registry: exports,
      policy,
      refusals,
      log,
      threads: this.threads,
      pool: new PiecePool(),
      memory: new MemoryBudget(memoryBudgetBytes, undefined, { ...memoryParts, index: 0 }),
      terms: { multipleConnections: limits.maxConnections > 1 },
      busyPoller: new BusyPoller(busyPollMicroseconds, new BusyThreads(servedTimes, 0), () => clock.now() * 1e6),
      clock,
      handshakeTimeoutMilliseconds: limits.handshakeTimeoutSeconds * 1000,
    };
  }

  get connectionCount(): number {
    return this.connections.size;
  }

  get memory(): MemoryUse {
    return this.host.memory.use;
  }

  /** For clients that connect from now on. Open connections stay as they are. */
  useTls(mode: Exclude<TlsMode, 'none'>, settings: TlsSettings): void {
    const { tls, handshakeTimeoutMilliseconds } = this.host;
    tls?.door.use(settings);
    this.threads.useTls(settings, handshakeTimeoutMilliseconds);
    this.host.tls = { mode, door: tls?.door ?? new TlsDoor(settings, handshakeTimeoutMilliseconds) };
  }

  /** The level of the log has changed. */
  useLogLevel(): void {
    this.threads.useLogLevel();
  }

  /** After the rules have changed: ends the connections of clients who may not use their export any more. */
  recheckRights(): void {
    for (const connection of this.connections) connection.recheckRights();
  }

  /** Port 0 means any free port. Rejects as net.Server does. */
  async listenTcp(host: string, port: number): Promise<AddressInfo> {
    const server = await this.listen({ host, port });
    const address = server.address();
    assert(address !== null && typeof address === 'object', 'a TCP server has an address');
    return address;
  }

  /** Listens on a new unix socket, which only its owner can use. Rejects as net.Server does. */
  async listenUnix(path: string): Promise<void> {
    await this.listen({ path });
  }

  /** Uses a socket that is already listening. Resolves to its address if it is a TCP socket. Rejects as net.Server does. */
  async listenFd(fd: number): Promise<AddressInfo | undefined> {
    const server = await this.listen({ fd });
    const address = server.address();
    return address !== null && typeof address === 'object' ? address : undefined;
  }

  /**
   * Serves a client that is already connected, and needs no TLS. Its socket must be paused. Without `peer`, it is who it
   * seems to be. Resolves when the client has gone.
   */
  adopt(socket: Socket, peer?: Peer): Promise<void> {
    return this.serve(socket, { ...this.host, tls: undefined }, peer);
  }

  private async serve(socket: Socket, host: ConnectionHost, peer = peerOf(socket, this.posix)): Promise<void> {
    if (!peer || this.host.refusals.turnsAway({ over: 'nbd', ...peer })) {
      socket.destroy();
      return;
    }
    const { client, origin } = peer;
    if (!makeRoom(this.connections, origin, this.maxConnections, performance.now())) {
      this.log.warn({ client, maxConnections: this.maxConnections }, 'a client was turned away: too many connections');
      socket.destroy();
      return;
    }
    if (isUnixSocket(socket)) this.enlargeSendBuffer(socket);
    const connection = new Connection(socket, peer, host);
    this.connections.add(connection);
    await connection.closed;
    this.connections.delete(connection);
  }

  /** Stops accepting clients, and closes each connection after its requests in flight are done. */
  async drain(): Promise<void> {
    const stopped = this.servers.map((server) => new Promise((resolve) => server.close(resolve)));
    await Promise.all([...this.connections].map((connection) => connection.drain()));
    await Promise.all(stopped);
    await this.threads.close();
  }

  private enlargeSendBuffer(socket: Socket): void {
    const fd = plainDescriptorOf(socket);
    if (fd !== undefined) this.posix?.setSendBufferNow(fd, UNIX_SEND_BUFFER_BYTES);
  }

  private async listen(options: { host: string; port: number } | { path: string } | { fd: number }): Promise<Server> {
    const server = createServer({ pauseOnConnect: true, allowHalfOpen: true }, (socket) => {
      void this.serve(socket, this.host);
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      const listening = () => {
        server.off('error', reject);
        resolve();
      };
      forOwnerAlone(() => server.listen({ ...options, backlog: 511 }, listening));
    });
    server.on('error', (error) => this.log.error({ err: error }, 'a listening socket failed'));
    this.servers.push(server);
    return server;
  }
}

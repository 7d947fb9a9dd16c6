import type { Socket } from 'node:net';
import { errnoName } from '../base/errno.js';
import type { Log } from '../base/log.js';
import type { ExportRegistry } from '../export/registry.js';
import type { ClientConnection, ConnectionSummary } from '../export/served-disk.js';
import type { Request } from '../protocol/request.js';
import { type BrokenRule, commandName } from '../protocol/validate-request.js';
import type { Agreement } from './agreement.js';
import type { BusyPoller } from './busy-poller.js';
import { attachReader, type StreamReader } from './byte-stream.js';
import { encodeGreeting, Handshake } from './handshake.js';
import type { MemoryAccount, MemoryBudget } from './memory-budget.js';
import type { ServerTerms } from './options/option-handler.js';
import type { PiecePool } from './piece-pool.js';
import { ReceiveBuffer } from './receive-buffer.js';
import { ReplyWriter } from './reply-writer.js';
import { Transmission } from './transmission.js';

/** How long a client may take to accept the last replies before the connection is cut. */
const CLOSE_PATIENCE_MILLISECONDS = 5_000;
/** How long a handshake may continue when the server is stopping. */
const HANDSHAKE_GRACE_MILLISECONDS = 1_000;

/** What all connections of a server share. */
export interface ConnectionHost {
  readonly exports: ExportRegistry;
  readonly terms: ServerTerms;
  readonly pool: PiecePool;
  readonly memory: MemoryBudget;
  readonly busyPoller: BusyPoller;
  readonly log: Log;
  readonly handshakeTimeoutMilliseconds: number;
}

export interface Peer {
  /** Describes the client, for people. */
  readonly client: string;
  /** Where the client comes from: the same for all clients on one machine. */
  readonly origin: string;
}

let lastId = 0;

/**
 * The connection of one client: handshake, then transmission, then the end. Event handlers only record what happened
 * and call `advance`, which makes all the progress that is possible.
 */
export class Connection implements StreamReader, ClientConnection {
  readonly id = ++lastId;
  /** Resolves when the connection is closed and none of its requests is in flight. */
  readonly closed: Promise<void>;
  readonly client: string;
  readonly origin: string;
  readonly connectedAtMilliseconds = performance.now();
  private readonly connectedAt = new Date();
  private readonly memory: MemoryAccount;
  private readonly input: ReceiveBuffer;
  private readonly output: ReplyWriter;
  private readonly socket: Socket;
  private readonly handshake: Handshake;
  private readonly handshakeTimer: NodeJS.Timeout;
  private transmission: Transmission | undefined;
  private agreement: Agreement | undefined;
  private closeReason: string | undefined;
  private finished = false;
  private paused = false;
  private advancing = false;
  private resolveClosed!: () => void;

  constructor(
    accepted: Socket,
    peer: Peer,
    private readonly host: ConnectionHost,
  ) {
    this.client = peer.client;
    this.origin = peer.origin;
    this.closed = new Promise((resolve) => {
      this.resolveClosed = resolve;
    });
    this.memory = host.memory.open(() => this.advance());
    this.input = new ReceiveBuffer(this.memory);
    this.socket = attachReader(accepted, this);
    this.socket.setNoDelay(true);
    this.socket.setKeepAlive(true);
    this.output = new ReplyWriter(this.socket, host.pool, this.memory);
    this.socket.on('drain', () => {
      this.output.count();
      this.advance();
    });
    this.handshake = new Handshake(host.exports, this.output, host.terms);
    this.handshakeTimer = setTimeout(
      () => this.stop('did not finish the handshake in time'),
      host.handshakeTimeoutMilliseconds,
    );
    this.output.send(encodeGreeting());
  }

  room(): Buffer {
    return this.input.room();
  }

  received(count: number): boolean {
    this.input.appended(count);
    if (this.closeReason !== undefined) {
      // Keep reading until the client closes: to close with unread bytes would cut off our last replies.
      this.input.consume(this.input.length);
      return true;
    }
    this.host.busyPoller.arrived();
    this.advance();
    this.host.busyPoller.served(this.input.length > 0);
    this.paused = !this.finished && !this.canBegin;
    return !this.paused;
  }

  ended(error?: Error): void {
    this.stop(error ? `the connection broke: ${error.message}` : 'the client closed the connection');
  }

  describe(): ConnectionSummary {
    return {
      id: this.id,
      client: this.client,
      connectedAt: this.connectedAt.toISOString(),
      requests: this.transmission?.requests ?? 0,
      failedRequests: this.transmission?.failedRequests ?? 0,
      bytesRead: this.transmission?.bytesRead ?? 0,
      bytesWritten: this.transmission?.bytesWritten ?? 0,
    };
  }

  drain(): Promise<void> {
    if (this.transmission) this.stop('the server closed the export');
    else {
      this.handshake.shuttingDown = true;
      setTimeout(() => this.stop('the server is stopping'), HANDSHAKE_GRACE_MILLISECONDS).unref();
    }
    return this.closed;
  }

  /** True until the client has chosen an export. Nothing is in flight before. */
  get undecided(): boolean {
    return this.transmission === undefined;
  }

  giveWay(): void {
    this.stop('closed to make room for another client before it chose an export');
    this.socket.destroy();
  }

  /** Stops accepting requests. Only the first reason is kept. */
  private stop(reason: string): void {
    this.closeReason ??= reason;
    this.advance();
  }

  private advance(): void {
    // An answer that is sent here can call back synchronously.
    if (this.advancing || this.finished) return;
    this.advancing = true;
    try {
      this.consume();
    } catch (bug) {
      this.noteBug(bug);
    }
    this.advancing = false;
    if (this.closeReason !== undefined) this.finishWhenIdle();
    else if (this.paused && this.canBegin) {
      this.paused = false;
      this.socket.resume();
    }
  }

  private noteBug(bug: unknown): void {
    this.host.log.error({ err: bug, connection: this.id }, 'a bug ended a connection');
    this.closeReason ??= 'a bug in the server';
  }

  /** False while the client has to wait: until it has read more of its replies, for its disk, or for memory. */
  private get canBegin(): boolean {
    if (this.memory.waiting) return false;
    return this.transmission ? this.transmission.canBegin : this.output.hasRoom && !this.handshake.answering;
  }

  private consume(): void {
    const { input } = this;
    if (!this.transmission && this.closeReason === undefined) {
      this.handshake.consume(input);
      // When there is no room, the 'drain' event continues.
      if (this.handshake.answering && this.output.hasRoom) setImmediate(() => this.advance());
      this.takeOutcome();
    }
    if (this.transmission && this.closeReason === undefined) {
      this.transmission.consume(input);
      this.closeReason ??= this.transmission.closeReason;
    }
    // A request that waits for memory has claimed it already.
    if (this.transmission?.lacksMemory && this.closeReason === undefined) return;
    // A large message claims memory for its room.
    if (this.closeReason !== undefined || input.claimRoom()) this.memory.waive();
  }

  private takeOutcome(): void {
    const { outcome } = this.handshake;
    if (!outcome) return;
    clearTimeout(this.handshakeTimer);
    if ('closeReason' in outcome) this.closeReason = outcome.closeReason;
    else if (!outcome.agreement.export.attach(this))
      this.closeReason = 'asked for an export that is being closed or made smaller';
    else {
      this.agreement = outcome.agreement;
      this.transmission = new Transmission(outcome.agreement, this.output, this.memory, {
        onProgress: () => this.advance(),
        onBug: (bug) => this.noteBug(bug),
        onRefused: (request, rule) => this.logRefusal(request, rule),
      });
      const facts = { connection: this.id, client: this.client, ...summarize(this.agreement) };
      this.host.log.debug(facts, 'transmission begins');
    }
  }

  /** Closes the connection once every request in flight has been answered. */
  private finishWhenIdle(): void {
    if (this.transmission && !this.transmission.idle) return;
    this.finished = true;
    clearTimeout(this.handshakeTimer);
    this.output.flush();
    this.socket.end();
    const cut = setTimeout(() => this.socket.destroy(), CLOSE_PATIENCE_MILLISECONDS);
    const gone = () => {
      clearTimeout(cut);
      this.input.close();
      this.output.close();
      this.memory.close();
      this.agreement?.export.detach(this);
      this.logEnd();
      this.resolveClosed();
    };
    if (this.socket.destroyed) gone();
    else this.socket.once('close', gone).resume();
  }

  private logRefusal({ command, flags, offset, length }: Request, { error, sentence }: BrokenRule): void {
    const request = { command: commandName(command), flags, offset, length };
    this.host.log.debug({ connection: this.id, ...request, error: errnoName(error) }, `refused a request: ${sentence}`);
  }

  private logEnd(): void {
    const { client, ...counters } = this.describe();
    const agreed = this.agreement && summarize(this.agreement);
    this.host.log.info({ client, ...agreed, ...counters, reason: this.closeReason }, 'connection closed');
  }
}

/** The agreement as fields of the log. */
function summarize({ export: served, structuredReplies, contexts }: Agreement) {
  return { export: served.name, structuredReplies, contexts: contexts.map(({ context }) => context.name) };
}

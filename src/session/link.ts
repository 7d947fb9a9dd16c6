import type { Socket } from 'node:net';
import type { Log } from '../base/log.js';
import type { ServedDisk } from '../export/served-disk.js';
import { plainDescriptorOf } from '../posix/socket-descriptor.js';
import type { Agreement } from './agreement.js';
import type { BusyPoller } from './busy-poller.js';
import { openStream, plainSocketOf, type Stream, type StreamReader } from './byte-stream.js';
import { CLIENT_CLOSED } from './close-reason.js';
import type { HandshakeOutput } from './handshake.js';
import type { MemoryAccount, MemoryBudget } from './memory-budget.js';
import type { PassClock } from './pass-clock.js';
import type { PiecePool } from './piece-pool.js';
import { ReceiveBuffer } from './receive-buffer.js';
import { ReplyWriter } from './reply-writer.js';
import type { MovedClient } from './threads/moved-client.js';

/** How long a client may take to accept the last replies before the connection is cut. */
const CLOSE_PATIENCE_MILLISECONDS = 5_000;

/** What all connections that one thread serves share. */
export interface LinkHost {
  readonly pool: PiecePool;
  readonly memory: MemoryBudget;
  readonly busyPoller: BusyPoller;
  /** The same as that of `busyPoller`. */
  readonly clock: PassClock;
  readonly log: Log;
}

/** What a link does with what it receives: the handshake or the transmission phase. */
export interface Phase {
  /** Consumes and answers the whole messages that have arrived. */
  consume(input: ReceiveBuffer): void;
  /** False while the client has to wait before its next message is consumed. */
  readonly canBegin: boolean;
  /** The next message has arrived but has to wait for memory. */
  readonly lacksMemory: boolean;
  /** True when everything in flight has been answered. */
  readonly idle: boolean;
  /** Why the connection ends; undefined while it goes on. */
  readonly closeReason: string | undefined;
}

/** What carries a handshake: a link of this thread, or one of another thread. */
export interface Carrier {
  readonly output: HandshakeOutput;
  /** As in `Link`. */
  readonly closed: Promise<string | undefined>;
  enter(phase: Phase): void;
  advance(): void;
  stop(reason: string): void;
  cut(reason: string): void;
  /** Serves the client in the other thread from now on, if this is a link of another thread. */
  begin?(agreement: Agreement<ServedDisk>): MovedClient;
}

/** The other end of a descriptor that is served elsewhere from now on. */
export interface MovedStream {
  /** Owned by the receiver. */
  readonly fd: number;
  /** What has been received and not consumed. */
  readonly received: Uint8Array<ArrayBuffer>;
}

/**
 * One client's socket with its input and output. Event handlers only record what happened and call `advance`, which
 * makes all the progress that is possible.
 */
export class Link implements StreamReader, Carrier {
  /** Resolves with the reason when the socket is closed and nothing is in flight; undefined when it has moved. */
  readonly closed: Promise<string | undefined>;
  readonly memory: MemoryAccount;
  readonly output: ReplyWriter;
  private readonly input: ReceiveBuffer;
  private readonly socket: Socket;
  private readonly isSecured: boolean;
  private phase: Phase | undefined;
  private closeReason: string | undefined;
  /** The client has gone before it said so, or the server ends the connection. Long work is not completed then. */
  isGivenUp = false;
  private finished = false;
  private hasMoved = false;
  private paused = false;
  private advancing = false;
  private resolveClosed!: (reason: string | undefined) => void;

  constructor(
    stream: Stream,
    private readonly host: LinkHost,
    /** For the log. */
    private readonly id: number,
    /** What was received before, in another thread. */
    received?: Uint8Array,
  ) {
    this.closed = new Promise((resolve) => {
      this.resolveClosed = resolve;
    });
    this.memory = host.memory.open(() => this.advance());
    this.input = new ReceiveBuffer(this.memory);
    // Before the socket asks for its first room, which has to be behind it.
    if (received) this.take(received);
    this.isSecured = 'secured' in stream;
    this.socket = openStream(stream, this);
    this.socket.setNoDelay(true);
    this.socket.setKeepAlive(true);
    this.output = new ReplyWriter(this.socket, host.pool, this.memory);
    this.socket.on('drain', () => {
      this.output.count();
      this.advance();
    });
  }

  get clock(): PassClock {
    return this.host.clock;
  }

  /** Gives what is received from now on to this phase. After `advance`, also what was received before. */
  enter(phase: Phase): void {
    this.phase = phase;
  }

  room(): Buffer {
    return this.input.room();
  }

  received(count: number, more = false): boolean {
    this.input.appended(count);
    if (more && !this.input.hasLongMessage) return true;
    if (this.closeReason !== undefined) {
      // Keep reading until the client closes: to close with unread bytes would cut off our last replies.
      this.input.consume(this.input.length);
      return true;
    }
    const { busyPoller, clock } = this.host;
    clock.beginPass();
    busyPoller.arrived();
    this.advance();
    if (!this.hasMoved) this.poll(this.input.length > 0);
    clock.endPass();
    if (this.hasMoved) return false;
    this.paused = !this.finished && !this.canBegin;
    return !this.paused;
  }

  ended(error?: Error): void {
    // A client that has said so may leave before the last of its requests is done.
    if (this.closeReason !== undefined) this.advance();
    else this.stop(error ? `the connection broke: ${error.message}` : CLIENT_CLOSED);
  }

  /** Stops accepting messages. Only the first reason is kept. */
  stop(reason: string): void {
    this.closeReason ??= reason;
    this.isGivenUp = true;
    this.advance();
  }

  /** Closes the socket at once. */
  cut(reason: string): void {
    this.stop(reason);
    this.socket.destroy();
  }

  noteBug(bug: unknown): void {
    this.host.log.error({ err: bug, connection: this.id }, 'a bug ended a connection');
    this.closeReason ??= 'a bug in the server';
  }

  advance(): void {
    // An answer that is sent here can call back synchronously.
    if (this.advancing || this.finished) return;
    this.advancing = true;
    try {
      this.consume();
    } catch (bug) {
      this.noteBug(bug);
    }
    this.advancing = false;
    if (this.finished) return;
    if (this.closeReason !== undefined) this.finishWhenIdle();
    else if (this.paused && this.canBegin) {
      this.paused = false;
      this.socket.resume();
    }
  }

  /**
   * Ends this link and leaves its connection to the new owner of the descriptor that `duplicate` makes of this one's.
   * Undefined if that is not possible now.
   */
  moveTo(duplicate: (fd: number) => number | undefined): MovedStream | undefined {
    const fd = plainDescriptorOf(this.socket);
    if (fd === undefined || this.socket.writableLength > 0 || this.closeReason !== undefined) return undefined;
    const copy = duplicate(fd);
    if (copy === undefined) return undefined;
    const { buffer, start, end } = this.input;
    const received = Uint8Array.from(buffer.subarray(start, end));
    this.endMoved();
    this.socket.destroy();
    return { fd: copy, received };
  }

  /**
   * Ends this link and leaves its connection to TLS, which gets a socket that reads nothing yet. Everything received must
   * have been consumed. Undefined if that is not possible now.
   */
  surrender(): Socket | undefined {
    if (this.socket.writableLength > 0 || this.closeReason !== undefined) return undefined;
    const socket = plainSocketOf(this.socket);
    if (socket) this.endMoved();
    return socket;
  }

  /** False while the client has to wait: until it has read more of its replies, for its disk, or for memory. */
  private get canBegin(): boolean {
    return !this.memory.waiting && (this.phase?.canBegin ?? false);
  }

  private poll(inMessage: boolean): void {
    // The rest of a large message comes in many records. Polling would take the processor from a client that encrypts them.
    if (!inMessage || !this.isSecured) this.host.busyPoller.served(inMessage);
  }

  private endMoved(): void {
    this.finished = true;
    this.hasMoved = true;
    this.socket.once('close', () => {
      this.release();
      this.resolveClosed(undefined);
    });
  }

  private take(received: Uint8Array): void {
    for (let at = 0; at < received.length; ) {
      const room = this.room();
      const count = Math.min(room.length, received.length - at);
      room.set(received.subarray(at, at + count));
      at += count;
      this.input.appended(count);
    }
  }

  private consume(): void {
    const { input } = this;
    // A phase can be followed by the next one in the middle of what was received.
    for (let done: Phase | undefined; done !== this.phase && this.closeReason === undefined && !this.finished; ) {
      done = this.phase!;
      done.consume(input);
      this.closeReason ??= done.closeReason;
    }
    if (this.finished) return;
    // A request that waits for memory has claimed it already.
    if (this.phase?.lacksMemory && this.closeReason === undefined) return;
    // A large message claims memory for its room.
    if (this.closeReason !== undefined || input.claimRoom()) this.memory.waive();
  }

  /** Closes the connection once every request in flight has been answered. */
  private finishWhenIdle(): void {
    if (this.phase && !this.phase.idle) return;
    this.finished = true;
    this.output.flush();
    this.socket.end();
    const cut = setTimeout(() => this.socket.destroy(), CLOSE_PATIENCE_MILLISECONDS);
    const gone = () => {
      clearTimeout(cut);
      this.release();
      this.resolveClosed(this.closeReason);
    };
    if (this.socket.destroyed) gone();
    else this.socket.once('close', gone).resume();
  }

  private release(): void {
    this.input.close();
    this.output.close();
    this.memory.close();
  }
}

import { connect, type Socket } from 'node:net';
import type { Posix } from '../posix/posix-calls.js';
import { plainDescriptorOf } from '../posix/socket-descriptor.js';
import { type ServerCheck, secureClient, TlsFaultError } from '../tls/connect.js';
import { describeServerFault } from '../tls/server-faults.js';
import type { TlsSettings } from '../tls/tls-settings.js';
import { cannot, closedBy, givenUp, silent } from './connection-failures.js';
import type { ConnectionFacts } from './detached-connection.js';
import { type Dialogue, DialogueRunner } from './dialogue.js';
import { NbdConnectionError, NbdOptionError, NbdProtocolError, NbdTlsError } from './errors.js';
import { formatAddress, type NbdAddress } from './nbd-uri.js';

/** How long a server may take to close a connection that is being ended. */
const CLOSE_PATIENCE_MILLISECONDS = 5_000;
/** How long a call of a detached connection waits before it looks whether it still should. */
const DETACHED_WAIT_MILLISECONDS = 250;
/** With TLS 1.3, a server judges the client when the client already counts the connection as made. */
const SECURED_HINT =
  'its log may say why: it closes the connection of a client whose certificate or key it does not accept';

interface StreamPatience {
  /** How long the server may be silent while an answer is due. */
  readonly timeoutSeconds: number;
  /** Closes the connection, whatever it waits for. */
  readonly signal: AbortSignal | undefined;
}

/**
 * The bytes of a connection to a server: `send` sends them, and dialogues receive them. The first failure closes the
 * connection and fails everything that waits for it.
 */
export class NbdStream {
  /** Why the connection is unusable; undefined while it works. */
  failure: Error | undefined;
  private readonly runner = new DialogueRunner();
  /** The connection itself, in the clear. */
  private readonly raw: Socket;
  /** What is written to and read from: `raw`, or the TLS socket on top of it. */
  private socket: Socket;
  private readonly closed: Promise<void>;
  private corked = false;
  /** Whether TLS was begun and nothing has come through it yet. */
  private isUnheard = false;

  private constructor(
    private readonly address: NbdAddress,
    private readonly patience: StreamPatience,
    willBeSecured: boolean,
  ) {
    this.raw = connect({
      ...('socketPath' in address ? { path: address.socketPath } : address),
      noDelay: true,
      keepAlive: true,
      // A TLS socket takes the bytes before they get here.
      ...(!willBeSecured && {
        onread: { buffer: () => this.runner.room(), callback: (count) => this.received(count) },
      }),
    });
    if (willBeSecured) this.raw.on('data', this.copyIn);
    this.socket = this.raw;
    this.closed = new Promise((resolve) => this.raw.once('close', () => resolve()));
    const { signal } = patience;
    const giveUp = () => this.giveUp();
    signal?.addEventListener('abort', giveUp);
    void this.closed.then(() => signal?.removeEventListener('abort', giveUp));
  }

  /** Connects. `secure` is called later if `willBeSecured`. @throws NbdConnectionError */
  static async open(address: NbdAddress, patience: StreamPatience, willBeSecured = false): Promise<NbdStream> {
    if (patience.signal?.aborted) throw givenUp();
    const stream = new NbdStream(address, patience, willBeSecured);
    await stream.connected();
    return stream;
  }

  /**
   * Encrypts everything from now on. The server has just agreed to that, and is judged before this resolves.
   * @throws NbdTlsError, NbdConnectionError, NbdProtocolError
   */
  async secure(settings: TlsSettings, check: ServerCheck): Promise<void> {
    if (this.failure) throw this.failure;
    // Whoever is between can put bytes there, and they would count as if they came through TLS.
    if (!this.runner.isIdle) throw this.failed(new NbdProtocolError('sent data behind its answer to STARTTLS'));
    this.raw.off('data', this.copyIn);
    this.isUnheard = true;
    const secured = await secureClient(this.raw, settings, check).catch((error: Error) => {
      throw this.failed(this.failureOf(error));
    });
    this.socket = secured;
    secured.on('data', this.copyIn);
    secured.on('end', () => this.fail(closedBy(formatAddress(this.address), this.securedHint)));
    secured.on('error', (error) => this.fail(this.failureOf(error)));
    if (this.failure) {
      secured.destroy();
      throw this.failure;
    }
  }

  /** Sends all parts of this turn of the event loop with one system call. The buffers are not copied. */
  send(...parts: readonly Buffer[]): void {
    if (!this.corked) {
      this.corked = true;
      this.socket.cork();
      process.nextTick(() => {
        this.corked = false;
        this.socket.uncork();
      });
    }
    for (const part of parts) this.socket.write(part);
  }

  /** Runs a dialogue, one at a time. An error in it closes the connection, unless the server only refused an option. */
  async converse<Result>(dialogue: Dialogue<Result>): Promise<Result> {
    if (this.failure) throw this.failure;
    try {
      return await this.runner.run(dialogue);
    } catch (error) {
      if (!(error instanceof NbdOptionError)) this.fail(error as Error);
      throw error;
    }
  }

  /** Sets whether an answer is due: only then does a silent server time out. */
  expectAnswer(owed: boolean): void {
    // Also for what goes through TLS: its activity counts for the socket beneath.
    this.raw.setTimeout(owed ? this.patience.timeoutSeconds * 1000 : 0);
  }

  /** Closes the connection at once. */
  fail(error: Error): void {
    if (this.failure) return;
    this.failure = error;
    this.socket.destroy();
    this.runner.abandon(error);
  }

  /** Closes the connection at once because it is no longer needed, even while it waits for the server to close. */
  giveUp(): void {
    this.fail(givenUp());
    this.socket.destroy();
  }

  /** Sends everything that is buffered, then closes. Resolves when the connection is closed. */
  async end(): Promise<void> {
    this.failure ??= new NbdConnectionError('the connection to the NBD server is closed');
    this.socket.end();
    const cut = setTimeout(() => this.socket.destroy(), CLOSE_PATIENCE_MILLISECONDS);
    await this.closed;
    clearTimeout(cut);
  }

  /**
   * Ends the stream, but not the connection: the caller owns its descriptor from now on. Undefined if the stream has to
   * stay, because there is no descriptor or something is buffered.
   */
  async detach(posix: Posix): Promise<Omit<ConnectionFacts, 'replies'> | undefined> {
    if (this.failure) throw this.failure;
    const own = plainDescriptorOf(this.socket);
    if (own === undefined || this.socket.writableLength > 0 || !this.runner.isIdle) return undefined;
    const fd = posix.duplicateWaitingNow(own, DETACHED_WAIT_MILLISECONDS);
    if (fd < 0) return undefined;
    // Node closes its own descriptor without a shutdown, so the connection stays.
    this.fail(new NbdConnectionError('the connection to the NBD server was handed over'));
    await this.closed;
    return { fd, place: formatAddress(this.address), timeoutSeconds: this.patience.timeoutSeconds };
  }

  private get securedHint(): string {
    return this.isUnheard ? SECURED_HINT : '';
  }

  /** What a failed TLS socket means. */
  private failureOf(error: NodeJS.ErrnoException): Error {
    const fault = error instanceof TlsFaultError ? error.fault : describeServerFault(error);
    const place = formatAddress(this.address);
    if (!fault) return cannot('talk', place, error, this.securedHint);
    return new NbdTlsError(`the NBD server at ${place} cannot be used: ${fault.problem}`, fault.hint, { cause: error });
  }

  /** Fails with the error, and returns the first error. */
  private failed(error: Error): Error {
    this.fail(error);
    return this.failure!;
  }

  private connected(): Promise<void> {
    const { raw: socket } = this;
    const place = formatAddress(this.address);
    this.expectAnswer(true);
    socket.on('timeout', () => this.fail(silent(place, this.patience.timeoutSeconds)));
    socket.on('end', () => this.fail(closedBy(place)));
    let doing: 'connect' | 'talk' = 'connect';
    const check = 'make sure that the server runs, and check the address';
    socket.on('error', (error) => this.fail(cannot(doing, place, error, doing === 'connect' ? check : '')));
    return new Promise((resolve, reject) => {
      socket.once('connect', () => {
        doing = 'talk';
        resolve();
      });
      void this.closed.then(() => reject(this.failure));
    });
  }

  private readonly copyIn = (chunk: Buffer) => {
    this.isUnheard = false;
    for (let at = 0; at < chunk.length && !this.failure; ) {
      const count = chunk.copy(this.runner.room(), 0, at);
      this.received(count);
      at += count;
    }
  };

  private received(count: number): boolean {
    if (this.runner.running) this.runner.received(count);
    else if (!this.failure) this.fail(new NbdProtocolError('sent something that was not asked for'));
    return true;
  }
}

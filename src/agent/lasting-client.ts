import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { type StatusWindow, walkBlockStatus } from '../client/block-status-walk.js';
import type { DetachedConnection } from '../client/detached-connection.js';
import { NbdConnectionError, NbdOptionError, NbdRemoteError } from '../client/errors.js';
import type { ExportFeatures } from '../client/export-features.js';
import { type BlockStatusOptions, NbdClient, type NbdConnectOptions } from '../client/nbd-client.js';
import type { BlockStatus } from '../client/status-request.js';
import type { Posix } from '../posix/posix-calls.js';
import { OptionError } from '../protocol/constants.js';
import { AgentError } from './agent-error.js';
import { LOSS_PATIENCE_MILLISECONDS, type LossObserver } from './loss-observer.js';

const FIRST_PAUSE_MILLISECONDS = 500;
const LONGEST_PAUSE_MILLISECONDS = 15_000;
/** A request during which the connection is lost this many times may itself be what the server dies of. */
const MAX_LOSSES = 10;

export interface LastingOptions extends NbdConnectOptions {
  readonly signal: AbortSignal;
  /** Whether to connect again after a loss. Not if the export may be another disk, or in another state, by then. */
  readonly mayReconnect: (features: ExportFeatures) => boolean;
  /** Makes a new connection as good as the lost one, before anything else uses it. */
  readonly prepare?: (client: NbdClient) => Promise<void>;
  readonly observer?: LossObserver | undefined;
  /** How long to wait before the first try; twice as long before each next one. */
  readonly pauseMilliseconds?: number;
}

/**
 * An NBD client that connects again, with increasing pauses, when its connection is lost. Requests are repeated, so it
 * has only those that can be. The export must come back as it was. @throws like NbdClient
 */
export class LastingClient {
  private renewing: Promise<void> | undefined;
  /** Why it is not tried any more. */
  private failure: unknown;
  private isEnding = false;

  private constructor(
    private client: NbdClient,
    private readonly uri: string,
    private readonly options: LastingOptions,
  ) {}

  static async connect(uri: string, options: LastingOptions): Promise<LastingClient> {
    return new LastingClient(await NbdClient.connect(uri, options), uri, options);
  }

  get sizeBytes(): number {
    return this.client.sizeBytes;
  }

  get features(): ExportFeatures {
    return this.client.features;
  }

  get blockSizes(): NbdClient['blockSizes'] {
    return this.client.blockSizes;
  }

  get contexts(): readonly string[] {
    return this.client.contexts;
  }

  read(offset: number, length: number, into?: Buffer): Promise<Buffer> {
    return this.repeat((client) => client.read(offset, length, into));
  }

  get maxRangeBytes(): number {
    return this.client.maxRangeBytes;
  }

  /** A server that comes back may take shorter ranges than before. */
  blockStatus(offset: number, length: number, options?: BlockStatusOptions): Promise<BlockStatus> {
    return this.repeat((client) => client.blockStatus(offset, Math.min(length, client.maxRangeBytes), options));
  }

  extents(offset = 0, length = this.sizeBytes - offset, contexts = this.contexts): AsyncGenerator<StatusWindow> {
    return walkBlockStatus(this, offset, length, contexts);
  }

  write(offset: number, data: Buffer): Promise<void> {
    return this.repeat((client) => client.write(offset, data));
  }

  zero(offset: number, length: number): Promise<void> {
    return this.repeat((client) => client.zero(offset, length));
  }

  flush(): Promise<void> {
    return this.repeat((client) => client.flush());
  }

  /** Like `detach` of NbdClient. A detached connection is not made again. */
  detach(posix: Posix): Promise<DetachedConnection | undefined> {
    return this.repeat((client) => client.detach(posix));
  }

  async disconnect(): Promise<void> {
    this.isEnding = true;
    await this.client.disconnect();
  }

  /** Closes the connection at once. */
  abort(): void {
    this.isEnding = true;
    this.client.abort();
  }

  private async repeat<Result>(ask: (client: NbdClient) => Promise<Result>): Promise<Result> {
    for (let losses = 1; ; losses++) {
      if (this.renewing) await this.renewing;
      if (this.failure) throw this.failure;
      const { client } = this;
      try {
        return await ask(client);
      } catch (error) {
        const isAllowed = losses < MAX_LOSSES && this.options.mayReconnect(client.features);
        if (!isAllowed || this.isFinal(error)) throw error;
        await this.renew(client, error as Error);
      }
    }
  }

  /** Whether another try would meet the same error, or is not wanted. */
  private isFinal(error: unknown): boolean {
    const isLoss =
      error instanceof NbdConnectionError ||
      (error instanceof NbdRemoteError && error.code === 'ESHUTDOWN') ||
      (error instanceof NbdOptionError && error.error === OptionError.SHUTDOWN);
    return !isLoss || this.isEnding || this.options.signal.aborted;
  }

  /** Replaces a lost connection, once for all requests that had it. */
  private async renew(lost: NbdClient, cause: Error): Promise<void> {
    if (this.client !== lost) return;
    this.renewing ??= this.reconnect(lost, cause)
      .catch((error: unknown) => {
        this.failure = error;
        throw error;
      })
      .finally(() => {
        this.renewing = undefined;
      });
    await this.renewing;
  }

  private async reconnect(lost: NbdClient, cause: Error): Promise<void> {
    const { signal, observer, pauseMilliseconds = FIRST_PAUSE_MILLISECONDS } = this.options;
    lost.abort();
    observer?.lost(cause);
    const deadline = performance.now() + LOSS_PATIENCE_MILLISECONDS;
    for (let pause = pauseMilliseconds; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MILLISECONDS)) {
      await delay(pause, undefined, { signal }).catch(() => {
        throw cause;
      });
      try {
        this.client = await this.connectAgain(lost);
        observer?.back();
        return;
      } catch (error) {
        if (this.isFinal(error)) throw error;
        if (performance.now() > deadline) throw givenUp(cause, error as Error);
      }
    }
  }

  private async connectAgain(lost: NbdClient): Promise<NbdClient> {
    const client = await NbdClient.connect(this.uri, this.options);
    try {
      const facts = ({ sizeBytes, features, blockSizes, contexts }: NbdClient) => [
        ...[sizeBytes, features, blockSizes],
        new Set(contexts),
      ];
      if (!isDeepStrictEqual(facts(client), facts(lost))) throw changed();
      await this.options.prepare?.(client);
      return client;
    } catch (error) {
      client.abort();
      throw error;
    }
  }
}

function changed(): AgentError {
  const message = 'the connection was lost, and the export has another size or offers other things since';
  return new AgentError(message, 'find out what the server does, and run it again');
}

function givenUp(cause: Error, last: Error): NbdConnectionError {
  const seconds = LOSS_PATIENCE_MILLISECONDS / 1000;
  const message = `${cause.message}, and for ${seconds} s it could not be made again: ${last.message}`;
  return new NbdConnectionError(message, '', { cause });
}

import type { TlsDefaults } from '../client/find-tls-files.js';
import type { LossObserver } from './loss-observer.js';
import type { DiskSink } from './threaded-chain-copy.js';

/** The destination of a restore. */
export interface RestoreTarget extends DiskSink {
  /** Whether what is written comes into sight only with `finish`, and `discard` leaves what was there before. */
  readonly isHidden: boolean;
  /** Makes the disk durable. A file gets its name only now. */
  finish(): Promise<void>;
  /** Gives up, and removes an unfinished file. */
  discard(): Promise<void>;
}

export interface TargetOptions {
  readonly sizeBytes: number;
  /** Whether an existing file or a device may be overwritten. */
  readonly force: boolean;
  /** Rejects if the existing file or device is in use. */
  readonly checkUnused?: ((path: string) => Promise<void>) | undefined;
  /** Aborting it ends the connection to an NBD server at once. */
  readonly signal?: AbortSignal | undefined;
  /** Certificates and keys for a URI that asks for TLS and names none. */
  readonly tls?: TlsDefaults | undefined;
  readonly observer?: LossObserver | undefined;
}

import type { DiskLocation } from '../base/disk-location.js';
import type { FullReason, ImageOrigin } from './manifest-format.js';

/** One export's part in a backup. */
export interface BackupPart {
  readonly export: string;
  /** NBD URI of the view. */
  readonly uri: string;
  /** The metadata context that says what changed since `base`. */
  readonly context: string;
  /** The live disk. It has the view's data wherever that is not overwritten yet. Undefined if it cannot be read. */
  readonly disk?: DiskLocation | undefined;
  readonly mode: 'full' | 'incremental';
  readonly fullReason?: FullReason | undefined;
  /** The committed backup that the changes count from; null when there is none. */
  readonly base: string | null;
  /** Set if the server knows no backups. Then only the user asserts that the changes count from `base`. */
  readonly origin?: ImageOrigin;
}

export interface Backup {
  readonly id: string;
  readonly state: 'active' | 'committed' | 'aborted';
  /** The instant that the backup shows, in ISO 8601. */
  readonly startedAt: string;
  readonly ttlSeconds: number;
  /** Why it was aborted: a code for programs, and text for people. */
  readonly endReason?: string | undefined;
  readonly endDetail?: string | undefined;
  readonly exports: readonly BackupPart[];
}

/** An export that was read in full although the server offered an increment. */
export interface ReadInFull extends FullReason {
  readonly export: string;
}

export interface BeginRequest {
  readonly exports: readonly string[];
  readonly bitmap: string;
  readonly full: boolean;
  readonly ttlSeconds: number;
}

/**
 * The outcome of a call is unknown, because no answer came or the server cannot answer now. The call can be repeated.
 */
export class NoAnswerError extends Error {
  override readonly name = 'NoAnswerError';

  constructor(readonly reason: Error) {
    super(reason.message, { cause: reason });
  }
}

/**
 * Makes views and switches bitmaps; a tidemark server does this through its control API. Calls reject with
 * NoAnswerError, or with a refusal that has a `message` and a `hint`.
 */
export interface BackupService {
  begin(request: BeginRequest): Promise<Backup>;
  renew(id: string): Promise<void>;
  /**
   * Can be repeated, with the same result. Reports the exports that were read in full although the server did not ask.
   */
  commit(id: string, readInFull: readonly ReadInFull[]): Promise<void>;
  abort(id: string, reason: string): Promise<void>;
  /** Undefined if the backup is unknown. */
  show(id: string): Promise<Backup | undefined>;
}

import type { DiskLocation } from '../base/disk-location.js';
import type { FullReason, ImageOrigin } from './manifest-format.js';

/** One export's part in a backup. */
export interface BackupPart {
  readonly export: string;
  /** Where the view of the export is read: an NBD URI. */
  readonly uri: string;
  /** The metadata context that says what changed since `base`. */
  readonly context: string;
  /** The live disk, which has the data of the view as far as that is not overwritten; undefined when it cannot be read. */
  readonly disk?: DiskLocation | undefined;
  readonly mode: 'full' | 'incremental';
  readonly fullReason?: FullReason | undefined;
  /** The committed backup that the changes count from; null when there is none. */
  readonly base: string | null;
  /** Of a server that knows of no backups: where it is read. That its changes count from `base` is somebody's word. */
  readonly origin?: ImageOrigin;
}

export interface Backup {
  readonly id: string;
  readonly state: 'active' | 'committed' | 'aborted';
  /** The instant that the backup shows, in ISO 8601. */
  readonly startedAt: string;
  readonly ttlSeconds: number;
  /** Why and how it was aborted: a code, and words. */
  readonly endReason?: string | undefined;
  readonly endDetail?: string | undefined;
  readonly exports: readonly BackupPart[];
}

/** An export of which everything was read, though the server said that what had changed would do. */
export interface ReadInFull extends FullReason {
  readonly export: string;
}

export interface BeginRequest {
  readonly exports: readonly string[];
  readonly bitmap: string;
  readonly full: boolean;
  readonly ttlSeconds: number;
}

/** Nobody knows what became of a call: its answer did not come, or it cannot be answered right now. It can be repeated. */
export class NoAnswerError extends Error {
  override readonly name = 'NoAnswerError';

  constructor(readonly reason: Error) {
    super(reason.message, { cause: reason });
  }
}

/**
 * Who makes views and switches bitmaps: a tidemark server, by its control API. Calls reject with NoAnswerError, or with
 * a refusal that has a `message` and a `hint`.
 */
export interface BackupService {
  begin(request: BeginRequest): Promise<Backup>;
  renew(id: string): Promise<void>;
  /** Can be asked again, and answers the same. Tells what was read as a whole without the server's asking for it. */
  commit(id: string, readInFull: readonly ReadInFull[]): Promise<void>;
  abort(id: string, reason: string): Promise<void>;
  /** Undefined when no such backup is known. */
  show(id: string): Promise<Backup | undefined>;
}

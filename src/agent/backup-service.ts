import type * as Api from '../api/backup.js';
import type { ImageOrigin } from './manifest-format.js';

/** What the agent needs of one export's part in a backup. */
export interface BackupPart
  extends Pick<Api.BackupPart, 'export' | 'uri' | 'context' | 'disk' | 'mode' | 'fullReason' | 'base'> {
  /** Set if the server knows no backups. Then only the user asserts that the changes count from `base`. */
  readonly origin?: ImageOrigin;
}

/** What the agent needs of a backup, whoever makes it. */
export interface Backup
  extends Pick<Api.Backup, 'id' | 'state' | 'startedAt' | 'ttlSeconds' | 'endReason' | 'endDetail'> {
  readonly exports: readonly BackupPart[];
  /** What the server understands besides; see the API. */
  readonly accepts?: readonly string[];
}

/** How far the reading of an export has come. */
export type ProgressReport = Api.ProgressReport;

export type BeginRequest = Required<Pick<Api.NewBackup, 'exports' | 'bitmap' | 'full' | 'ttlSeconds'>>;

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
  /** `progress`: only if the backup accepts it. */
  renew(id: string, progress?: readonly ProgressReport[]): Promise<void>;
  /**
   * Can be repeated, with the same result. Reports the exports that were read in full although the server did not ask.
   */
  commit(id: string, readInFull: readonly Api.ReadInFull[]): Promise<void>;
  abort(id: string, reason: string): Promise<void>;
  /** Undefined if the backup is unknown. */
  show(id: string): Promise<Backup | undefined>;
}

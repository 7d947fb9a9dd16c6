import type { OnScratchFull } from '../snapshot/snapshot-options.js';

/** Why a backup must read everything. */
export interface FullReason {
  readonly code: 'no-such-bitmap' | 'inconsistent' | 'no-base' | 'base-mismatch' | 'asked-for';
  /** For people. */
  readonly detail: string;
}

/** Why a backup was aborted. */
export const abortReasons = [
  'asked',
  'expired',
  'server-restarted',
  'server-stopped',
  'scratch-full',
  'scratch-failed',
  'export-removed',
  'bitmap-inconsistent',
] as const;
export type AbortReason = (typeof abortReasons)[number];

/** The agent read an export completely although reading the changes was enough. The agent gives the reason. */
export interface ReadInFull {
  readonly export: string;
  readonly code: string;
  /** For people. */
  readonly detail: string;
}

/** One export's part in a backup, as it was at the cut; once committed, as the agent reported reading it. */
export interface PartRecord {
  readonly export: string;
  readonly mode: 'full' | 'incremental';
  readonly fullReason?: { readonly code: string; readonly detail: string };
  /** The backup that the changes count from; null when there is none. */
  readonly base: string | null;
  readonly sizeBytes: number;
  readonly granularityBytes: number;
  /** Bytes that the dirty context of the view reports as dirty. */
  readonly dirtyBytes: number;
  /** The dirty bytes; for a full backup the allocated bytes. */
  readonly estimatedReadBytes: number;
}

/** The stored record of a backup, in JSON. */
export interface BackupRecord {
  readonly id: string;
  readonly bitmap: string;
  readonly state: 'active' | 'committed' | 'aborted';
  /** Times in ISO 8601. */
  readonly startedAt: string;
  readonly ttlSeconds: number;
  readonly onScratchFull: OnScratchFull;
  readonly scratchLimitBytes?: number;
  readonly endedAt?: string;
  readonly endReason?: AbortReason;
  readonly endDetail?: string;
  readonly parts: readonly PartRecord[];
}

export type EndOfBackup = Required<Pick<BackupRecord, 'state' | 'endedAt'>> &
  Pick<BackupRecord, 'endReason' | 'endDetail'> &
  Partial<Pick<BackupRecord, 'parts'>>;

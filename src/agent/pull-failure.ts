import type { AbortReason } from '../api/values.js';
import { NbdClientError } from '../client/errors.js';
import { Qcow2Error } from '../qcow2/image-file.js';
import { AgentError, isSystemError } from './agent-error.js';
import { type Backup, type BackupService, NoAnswerError } from './backup-service.js';
import { KeptImagesError } from './commit.js';

export interface FailureContext {
  readonly service: BackupService;
  /** Aborted when the user interrupts. */
  readonly signal: AbortSignal;
  readonly directory: string;
  /** The active backup, if there is one. */
  readonly backup?: Backup;
  /** Removes the files written so far. */
  readonly discard?: () => Promise<void>;
}

/** What to do for each reason for which a server ends a backup. */
const hints: Readonly<Partial<Record<AbortReason, string>>> = {
  expired: 'the server got no renewal in time: run it again, and make sure that this machine and the network stay up',
  'scratch-full': 'run it again with a higher --bwlimit, or give the server a larger scratch limit',
  'scratch-failed': 'fix the disk of the scratch files, and run it again',
  'export-removed': 'serve the export again, and run it again',
  'bitmap-inconsistent': 'run it again: the next backup will be full',
};
const RUN_AGAIN = 'run it again: nothing is lost, the bitmap still has all changes';

/**
 * Aborts the failed backup, removes its files, and returns the error to report. A backup that is committed, or may be,
 * is left unchanged.
 */
export async function explainFailure(error: unknown, context: FailureContext): Promise<unknown> {
  const { service, signal, backup, discard } = context;
  if (error instanceof KeptImagesError) return error;
  if (!backup) return signal.aborted ? interrupted() : describe(error, context);
  // The next pull removes what cannot be removed now.
  await discard?.().catch(() => {});
  // After an interrupt, wait for one answer only.
  const end = signal.aborted ? undefined : await service.show(backup.id).catch(() => undefined);
  const because = error instanceof Error ? error.message : String(error);
  if (end?.state !== 'aborted') await service.abort(backup.id, because).catch(() => {});
  if (signal.aborted) return interrupted();
  if (end?.state === 'aborted') return endedByServer(end, error);
  return describe(error, context);
}

function interrupted(): AgentError {
  return new AgentError('interrupted: the backup was aborted, and nothing of it is kept', RUN_AGAIN);
}

function endedByServer({ id, endReason, endDetail }: Backup, cause: unknown): AgentError {
  const why = endDetail ?? endReason ?? 'it does not say why';
  const hint = endReason === undefined ? undefined : hints[endReason];
  return new AgentError(`the server ended backup ${id}: ${why}`, hint ?? RUN_AGAIN, { cause });
}

function describe(error: unknown, { directory }: FailureContext): unknown {
  if (error instanceof NoAnswerError) return error.reason;
  if (error instanceof NbdClientError && error.hint === '')
    return new AgentError(error.message, RUN_AGAIN, { cause: error });
  if (error instanceof Qcow2Error) return new AgentError(error.message, RUN_AGAIN, { cause: error });
  if (!isSystemError(error)) return error;
  const isFull = ['ENOSPC', 'EDQUOT'].includes(error.code);
  const what = isFull ? `${directory} is full` : `cannot write to ${directory}: ${error.message}`;
  return new AgentError(what, isFull ? 'make room, or tidemark prune; nothing that was there is changed' : RUN_AGAIN, {
    cause: error,
  });
}

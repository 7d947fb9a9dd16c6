import { setTimeout as delay } from 'node:timers/promises';
import type { ReadInFull } from '../api/backup.js';
import { AgentError } from './agent-error.js';
import { type BackupService, NoAnswerError } from './backup-service.js';

const PAUSE_MILLISECONDS = 250;

export interface CommitPatience {
  /** How long to repeat the commit while the server does not answer. */
  readonly seconds: number;
  /** Aborted when the user interrupts. */
  readonly signal: AbortSignal;
}

/**
 * Commits, and repeats the call for a while if no answer comes. Rejects with the server's refusal, or with
 * AnswerLostError if the outcome stays unknown.
 */
export async function commitSurely(
  service: BackupService,
  id: string,
  readInFull: readonly ReadInFull[],
  patience: CommitPatience,
): Promise<void> {
  const deadline = performance.now() + patience.seconds * 1000;
  for (let isLast = false; ; ) {
    try {
      return await service.commit(id, readInFull);
    } catch (error) {
      if (!(error instanceof NoAnswerError)) throw error;
      if (isLast || performance.now() > deadline) throw new AnswerLostError(id, error);
    }
    // Try once more after an interrupt, because the answer may have been on its way.
    isLast = patience.signal.aborted;
    if (!isLast) await delay(PAUSE_MILLISECONDS, undefined, { signal: patience.signal }).catch(() => {});
  }
}

/** The backup may be committed, so it must not be aborted and its images must not be removed. */
export class KeptImagesError extends AgentError {}

/** It is unknown whether the backup is committed. */
class AnswerLostError extends KeptImagesError {
  constructor(id: string, cause: Error) {
    super(
      `the server did not say whether backup ${id} is committed: ${cause.message}`,
      'the images are kept; the next tidemark pull asks the server again, then completes or removes them',
      { cause },
    );
  }
}

/** The backup is committed, but a later step for an image failed. */
export class CommittedError extends KeptImagesError {
  constructor(id: string, cause: Error) {
    super(
      `backup ${id} is committed, but its image could not be renamed: ${cause.message}`,
      'make sure that the directory is writable and its disk is not full; the image is kept, and the next tidemark pull renames it',
      { cause },
    );
  }
}

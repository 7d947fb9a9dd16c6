import { setTimeout as delay } from 'node:timers/promises';
import { AgentError } from './agent-error.js';
import { type BackupService, NoAnswerError, type ReadInFull } from './backup-service.js';

const PAUSE_MILLISECONDS = 250;

export interface CommitPatience {
  /** How long commit is asked for again while nobody answers. */
  readonly seconds: number;
  /** Aborted when the user does not want to wait any more. */
  readonly signal: AbortSignal;
}

/**
 * Commits, and asks again for a while when there is no answer. Rejects with the refusal when the server says no, and with
 * AnswerLostError when nobody knows.
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
    // Who is interrupted asks once more, for the answer may have been on its way.
    isLast = patience.signal.aborted;
    if (!isLast) await delay(PAUSE_MILLISECONDS, undefined, { signal: patience.signal }).catch(() => {});
  }
}

/** Of a backup that must not be aborted any more, nor its images removed. */
export class KeptImagesError extends AgentError {}

/** It is not known whether a backup was committed. */
class AnswerLostError extends KeptImagesError {
  constructor(id: string, cause: Error) {
    super(
      `the server did not say whether backup ${id} is committed: ${cause.message}`,
      'the images are kept; the next tidemark pull asks the server, and finishes or removes them',
      { cause },
    );
  }
}

/** A backup is committed, and what is left to do for an image failed. */
export class CommittedError extends KeptImagesError {
  constructor(id: string, cause: Error) {
    super(
      `backup ${id} is committed, but its image could not be given its name: ${cause.message}`,
      'see that the directory is writable and its disk not full; the image is kept, and the next tidemark pull names it first',
      { cause },
    );
  }
}

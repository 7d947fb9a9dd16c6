import { setTimeout as delay } from 'node:timers/promises';
import { AgentError } from './agent-error.js';
import { type BackupService, NoAnswerError } from './backup-service.js';

const PAUSE_MILLISECONDS = 250;

/**
 * Commits, and asks again for up to `patienceSeconds` when there is no answer. Rejects with the refusal when the server
 * says no, and with AnswerLostError when nobody knows.
 */
export async function commitSurely(service: BackupService, id: string, patienceSeconds: number): Promise<void> {
  for (const deadline = performance.now() + patienceSeconds * 1000; ; await delay(PAUSE_MILLISECONDS)) {
    try {
      return await service.commit(id);
    } catch (error) {
      if (!(error instanceof NoAnswerError)) throw error;
      if (performance.now() > deadline) throw new AnswerLostError(id, error);
    }
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

import { LockFile, LockHeldError } from '../posix/lock-file.js';
import { AgentError, isSystemError } from './agent-error.js';

const hints: Readonly<Record<string, string>> = {
  EACCES: 'run this as the user that owns it; a lock file that no tidemark uses can be removed',
  EROFS: 'mount its file system for writing, or choose another place',
  ENOLCK: 'mount its file system with support for file locks',
  EOPNOTSUPP: 'run npm install again: the module koffi, which locks files, is missing',
};

/** Another tidemark is writing to the same place. */
export class InUseError extends AgentError {}

/** The place to lock, for the message `cannot <verb> <path>`. */
interface Place {
  readonly path: string;
  readonly verb: string;
}

/**
 * Makes the caller the only writer of a place. Releasing the lock removes its file. A process that dies leaves the
 * file, but not the lock. @throws InUseError at once if the lock is taken, AgentError
 */
export async function takeLock(lockPath: string, place: Place): Promise<LockFile> {
  try {
    return await LockFile.take(lockPath);
  } catch (error) {
    throw describe(error, place);
  }
}

function describe(error: unknown, { path, verb }: Place): unknown {
  if (error instanceof LockHeldError) {
    const who = error.holder === undefined ? '' : `: ${error.holder}`;
    return new InUseError(`another tidemark is writing to ${path}${who}`, 'wait until it has ended', { cause: error });
  }
  if (!isSystemError(error)) return error;
  const hint = hints[error.code] ?? 'fix that, or choose another place';
  const why = error.code === 'EROFS' ? 'its file system is read-only' : error.message;
  return new AgentError(`cannot ${verb} ${path}: ${why}`, hint, { cause: error });
}

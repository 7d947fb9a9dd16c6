import { LockFile, LockHeldError } from '../posix/lock-file.js';
import { AgentError, isSystemError } from './agent-error.js';

const hints: Readonly<Record<string, string>> = {
  EACCES: 'run this as the user who owns it; a lock file that no tidemark uses may be removed',
  EROFS: 'mount its file system for writing, or choose another place',
  ENOLCK: 'mount its file system such that files can be locked',
  EOPNOTSUPP: 'npm install again brings the module koffi, by which files are locked',
};

/** Another tidemark writes there. */
export class InUseError extends AgentError {}

/** What is to be written to: `cannot <verb> <path>`. */
interface Place {
  readonly path: string;
  readonly verb: string;
}

/**
 * Makes the caller the only one who writes there. The lock file goes with the lock, and nothing but a file is left of a
 * process that dies. @throws InUseError at once when it is taken, AgentError
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
  const hint = hints[error.code] ?? 'choose another place, or mend this one';
  const why = error.code === 'EROFS' ? 'its file system is read-only' : error.message;
  return new AgentError(`cannot ${verb} ${path}: ${why}`, hint, { cause: error });
}

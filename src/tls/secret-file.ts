import { CodedError } from '../base/coded-error.js';
import { isMissing } from '../base/errno.js';
import { MIB } from '../base/units.js';
import { isOpenToAll, readCheckedFile } from '../posix/checked-file.js';

/** Generous for certificates, keys and revocation lists. */
const MAX_FILE_BYTES = 4 * MIB;

/** The text of a file that everybody may know. @throws CodedError TLS_UNUSABLE */
export function readPublicFile(path: string): Promise<string> {
  return readText(path, undefined);
}

/**
 * The text of a file that only its owner and its group may know.
 * @throws CodedError TLS_UNUSABLE, with `cure` for a file that others can read
 */
export function readSecretFile(path: string, cure: string): Promise<string> {
  return readText(path, cure);
}

async function readText(path: string, cure: string | undefined): Promise<string> {
  try {
    return await readCheckedFile(path, {
      ...{ maxBytes: MAX_FILE_BYTES, followLinks: true },
      check: (stats, mode) => {
        if (cure === undefined || !isOpenToAll(stats)) return;
        const what = `every user can read or change ${path} (mode ${mode})`;
        throw new CodedError('TLS_UNUSABLE', what, `run chmod 600 ${path}; ${cure}`);
      },
    });
  } catch (error) {
    if (error instanceof CodedError) throw error;
    throw unreadable(path, error as NodeJS.ErrnoException);
  }
}

function unreadable(path: string, cause: NodeJS.ErrnoException): CodedError {
  if (isMissing(cause)) {
    const hint = 'check the path; tidemark tls init makes certificates and keys';
    return new CodedError('TLS_UNUSABLE', `there is no file ${path}`, hint, { cause });
  }
  const what = `cannot read ${path}: ${cause.code ?? cause.message}`;
  return new CodedError('TLS_UNUSABLE', what, 'check the path, and that the user of this process may read it', {
    cause,
  });
}

import { CodedError } from '../base/coded-error.js';
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
    const hint = 'check the path, and that the user of this process may read it';
    throw new CodedError('TLS_UNUSABLE', `cannot read ${path}: ${(error as Error).message}`, hint, { cause: error });
  }
}

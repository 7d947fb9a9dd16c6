import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { CodedError } from '../base/coded-error.js';
import { MIB } from '../base/units.js';

/** Generous for certificates, keys and revocation lists. */
const MAX_FILE_BYTES = 4 * MIB;
const { O_NONBLOCK, O_RDONLY } = constants;
/** Mode bits: others may read or write. */
const OTHERS = 0o006;

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

/** Checks the open file rather than its path, so that the file cannot be replaced between the check and the read. */
async function readText(path: string, cure: string | undefined): Promise<string> {
  let file: FileHandle | undefined;
  try {
    file = await open(path, O_RDONLY | O_NONBLOCK);
    const stats = await file.stat();
    if (!stats.isFile()) throw new Error('it is not a regular file');
    if (stats.size > MAX_FILE_BYTES) throw new Error(`it has ${stats.size} bytes (the limit is ${MAX_FILE_BYTES})`);
    if (cure !== undefined && (stats.mode & OTHERS) !== 0) throw tooOpen(path, stats.mode, cure);
    return await file.readFile('utf8');
  } catch (error) {
    if (error instanceof CodedError) throw error;
    const hint = 'check the path, and that the user of this process may read it';
    throw new CodedError('TLS_UNUSABLE', `cannot read ${path}: ${(error as Error).message}`, hint, { cause: error });
  } finally {
    await file?.close();
  }
}

function tooOpen(path: string, mode: number, cure: string): CodedError {
  const octal = (mode & 0o777).toString(8).padStart(4, '0');
  const what = `every user can read or change ${path} (mode ${octal})`;
  return new CodedError('TLS_UNUSABLE', what, `run chmod 600 ${path}; ${cure}`);
}

import { randomBytes } from 'node:crypto';
import { constants, type Stats } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError } from '../base/coded-error.js';
import { isMissing } from '../base/errno.js';
import { replaceFile } from '../posix/replacement.js';

/** The file in the state directory that holds the token made by the server. */
const MADE_TOKEN_FILE = 'http-token';
/** 256 bits, which cannot be guessed, no matter how fast the API answers. */
const TOKEN_BYTES = 32;
/** Generous for one line; larger files are certainly not token files. */
const MAX_FILE_BYTES = 4096;
const { O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = constants;
/** Mode bits: others may read or write; anybody but the owner has any permission. */
const OTHERS = 0o006;
const ALL_BUT_OWNER = 0o077;

/** Reads the operator's token from the file that `--http-token-file` names. @throws CodedError CONFIG_INVALID */
export function readGivenToken(path: string): Promise<string> {
  return readToken(path, O_RDONLY | O_NONBLOCK, ({ mode }) => {
    if ((mode & OTHERS) === 0) return;
    throw new CodedError(
      'CONFIG_INVALID',
      `every user can read or change the token file ${path} (mode ${octal(mode)})`,
      `run chmod 600 ${path}, and replace the token, which others may have read`,
    );
  });
}

/**
 * The server's own token and its path. The token is created the first time. The state directory must be locked.
 * @throws CodedError CONFIG_INVALID
 */
export async function ownToken(stateDirectory: string): Promise<{ token: string; path: string }> {
  const path = join(stateDirectory, MADE_TOKEN_FILE);
  try {
    return { token: await readOwnToken(path), path };
  } catch (error) {
    if (!isMissing((error as Error).cause)) throw error;
  }
  const content = `${randomBytes(TOKEN_BYTES).toString('base64url')}\n`;
  await replaceFile(path, content).catch((cause: Error) => {
    throw new CodedError(
      'CONFIG_INVALID',
      `cannot create the token file ${path}: ${cause.message}`,
      'make the state directory writable, or name a file with --http-token-file FILE',
      { cause },
    );
  });
  return { token: await readOwnToken(path), path };
}

function readOwnToken(path: string): Promise<string> {
  return readToken(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW, ({ mode, uid }) => {
    if (uid === process.geteuid?.() && (mode & ALL_BUT_OWNER) === 0) return;
    throw new CodedError(
      'CONFIG_INVALID',
      `other users may have changed or read the token file ${path} (mode ${octal(mode)}, user id ${uid})`,
      'remove it; the server makes a new one when it starts',
    );
  });
}

/** Checks the open file rather than its path, so that the file cannot be replaced between the check and the read. */
async function readToken(path: string, flags: number, check: (stats: Stats) => void): Promise<string> {
  let file: FileHandle | undefined;
  try {
    file = await open(path, flags);
    const stats = await file.stat();
    if (!stats.isFile()) throw new Error('it is not a regular file');
    check(stats);
    if (stats.size > MAX_FILE_BYTES)
      throw new Error(`it is too large for a token file (${stats.size} bytes; the limit is ${MAX_FILE_BYTES})`);
    return usable(path, await file.readFile('utf8'));
  } catch (error) {
    if (error instanceof CodedError) throw error;
    const { message } = error as Error;
    throw new CodedError('CONFIG_INVALID', `cannot read the token file ${path}: ${message}`, HINT, { cause: error });
  } finally {
    await file?.close();
  }
}

const HINT = 'check --http-token-file';

function usable(path: string, text: string): string {
  const token = text.trim();
  if (token === '') {
    throw new CodedError('CONFIG_INVALID', `the token file ${path} is empty`, 'write a long random token into it');
  }
  if (/[^\x20-\x7e]/.test(token)) {
    const what = `the token file ${path} contains several lines or non-ASCII characters`;
    throw new CodedError('CONFIG_INVALID', what, 'write one line of ASCII letters and digits into it');
  }
  return token;
}

function octal(mode: number): string {
  return (mode & 0o777).toString(8).padStart(4, '0');
}

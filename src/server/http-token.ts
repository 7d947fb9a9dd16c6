import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { CodedError } from '../base/coded-error.js';
import { isMissing } from '../base/errno.js';
import { isOpenToAll, isOursAlone, readCheckedFile } from '../posix/checked-file.js';
import { replaceFile } from '../posix/replacement.js';

/** The file in the state directory that holds the token made by the server. */
const MADE_TOKEN_FILE = 'http-token';
/** 256 bits, which cannot be guessed, no matter how fast the API answers. */
const TOKEN_BYTES = 32;
/** Generous for one line; larger files are certainly not token files. */
const MAX_FILE_BYTES = 4096;

/** Reads a token from the file that an option or a variable names. @throws CodedError CONFIG_INVALID */
export async function readGivenToken(path: string, named = '--http-token-file'): Promise<string> {
  try {
    const text = await readCheckedFile(path, {
      maxBytes: MAX_FILE_BYTES,
      followLinks: true,
      check: (stats, mode) => {
        if (!isOpenToAll(stats)) return;
        throw new CodedError(
          'CONFIG_INVALID',
          `every user can read or change the token file ${path} (mode ${mode})`,
          `run chmod 600 ${path}, and replace the token, which others may have read`,
        );
      },
    });
    return usable(path, text);
  } catch (error) {
    throw cannotRead(path, error, named);
  }
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

async function readOwnToken(path: string): Promise<string> {
  try {
    const text = await readCheckedFile(path, {
      maxBytes: MAX_FILE_BYTES,
      followLinks: false,
      check: (stats, mode) => {
        if (isOursAlone(stats)) return;
        throw new CodedError(
          'CONFIG_INVALID',
          `other users may have changed or read the token file ${path} (mode ${mode}, user id ${stats.uid})`,
          'remove it; the server makes a new one when it starts',
        );
      },
    });
    return usable(path, text);
  } catch (error) {
    throw cannotRead(path, error, '--http-token-file');
  }
}

function cannotRead(path: string, error: unknown, named: string): CodedError {
  if (error instanceof CodedError) return error;
  const { message } = error as Error;
  return new CodedError('CONFIG_INVALID', `cannot read the token file ${path}: ${message}`, `check ${named}`, {
    cause: error,
  });
}

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

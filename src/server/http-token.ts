import { randomBytes } from 'node:crypto';
import { constants, type Stats } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError } from '../base/coded-error.js';
import { replaceFile } from '../posix/replacement.js';

/** Where the server keeps the token that it made itself, inside its state directory. */
const MADE_TOKEN_FILE = 'http-token';
/** 256 bits: nobody guesses it, however fast the API answers. */
const TOKEN_BYTES = 32;
const MAX_FILE_BYTES = 4096;
const { O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = constants;
/** Rights of everybody but the owner and the group, and of everybody but the owner, to read or change a file. */
const OTHERS = 0o006;
const ALL_BUT_OWNER = 0o077;

/** The token of an operator, from the file that `--http-token-file` names. @throws CodedError CONFIG_INVALID */
export function readGivenToken(path: string): Promise<string> {
  return readToken(path, O_RDONLY | O_NONBLOCK, ({ mode }) => {
    if ((mode & OTHERS) === 0) return;
    throw new CodedError(
      'CONFIG_INVALID',
      `every user can read or change the token file ${path} (mode ${octal(mode)})`,
      `chmod 600 ${path}, and write another token into it`,
    );
  });
}

/**
 * The token that the server made for itself, now or earlier, and where it is. The state directory must be locked.
 * @throws CodedError CONFIG_INVALID
 */
export async function ownToken(stateDirectory: string): Promise<{ token: string; path: string }> {
  const path = join(stateDirectory, MADE_TOKEN_FILE);
  try {
    return { token: await readOwnToken(path), path };
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
  const content = `${randomBytes(TOKEN_BYTES).toString('base64url')}\n`;
  await replaceFile(path, content).catch((cause: Error) => {
    throw new CodedError(
      'CONFIG_INVALID',
      `the token file ${path} cannot be made: ${cause.message}`,
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
      `the token file ${path} is not for the server's user alone (mode ${octal(mode)}, user id ${uid})`,
      'remove it: the server makes another one at its next start',
    );
  });
}

/** Looks at the file that it has open, so that no other can be put in its place between the look and the read. */
async function readToken(path: string, flags: number, check: (stats: Stats) => void): Promise<string> {
  let file: FileHandle | undefined;
  try {
    file = await open(path, flags);
    const stats = await file.stat();
    if (!stats.isFile()) throw new Error('it is not a regular file');
    check(stats);
    if (stats.size > MAX_FILE_BYTES) throw new Error(`it has more than ${MAX_FILE_BYTES} bytes`);
    return usable(path, await file.readFile('utf8'));
  } catch (error) {
    if (error instanceof CodedError) throw error;
    const { message } = error as Error;
    throw new CodedError('CONFIG_INVALID', `the token file ${path} cannot be read: ${message}`, HINT, { cause: error });
  } finally {
    await file?.close();
  }
}

const HINT = 'check --http-token-file';

function usable(path: string, text: string): string {
  const token = text.trim();
  if (token === '') {
    throw new CodedError('CONFIG_INVALID', `the token file ${path} is empty`, 'write a long random text into it');
  }
  if (/[^\x20-\x7e]/.test(token)) {
    const what = `the token file ${path} has more than one line, or characters that are not ASCII`;
    throw new CodedError('CONFIG_INVALID', what, 'write one line of letters and digits into it');
  }
  return token;
}

function isMissing(error: unknown): boolean {
  return error instanceof CodedError && (error.cause as NodeJS.ErrnoException | undefined)?.code === 'ENOENT';
}

function octal(mode: number): string {
  return (mode & 0o777).toString(8).padStart(4, '0');
}

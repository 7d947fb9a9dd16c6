import { join } from 'node:path';
import { rights } from '../api/values.js';
import { CodedError } from '../base/coded-error.js';
import { isMissing } from '../base/errno.js';
import { type TokenRecord, TokenStore } from '../control/admission/token-store.js';
import { isOursAlone, readCheckedFile } from '../posix/checked-file.js';
import { removeUnfinished, replaceFile } from '../posix/replacement.js';

/** The file in the state directory with the tokens that were made with `tidemark token create`. */
const TOKENS_FILE = 'tokens.json';
const VERSION = 1;
/** More than the largest allowed number of tokens, each with the largest number of long patterns, needs. */
const MAX_FILE_BYTES = 64 * 1024 * 1024;

/** Opens the tokens of a server, whose state directory must exist and be locked. @throws CodedError CONFIG_INVALID */
export async function openTokens(stateDirectory: string): Promise<TokenStore> {
  const path = join(stateDirectory, TOKENS_FILE);
  await removeUnfinished(path);
  return new TokenStore(await readRecords(path), (records) => saveRecords(path, records));
}

/** @throws CodedError STORE_UNUSABLE */
async function saveRecords(path: string, tokens: readonly TokenRecord[]): Promise<void> {
  await replaceFile(path, `${JSON.stringify({ version: VERSION, tokens }, null, 2)}\n`).catch((cause: Error) => {
    throw new CodedError(
      'STORE_UNUSABLE',
      `cannot write the tokens to ${path}: ${cause.message}`,
      'nothing was changed; make the state directory writable, and free some space there',
      { cause },
    );
  });
}

/** @throws CodedError CONFIG_INVALID */
async function readRecords(path: string): Promise<TokenRecord[]> {
  try {
    const text = await readCheckedFile(path, {
      maxBytes: MAX_FILE_BYTES,
      followLinks: false,
      check: (stats, mode) => {
        if (!isOursAlone(stats))
          throw new Error(`other users may have changed it (mode ${mode}, user id ${stats.uid})`);
      },
    });
    return parseRecords(text);
  } catch (cause) {
    if (isMissing(cause)) return [];
    throw new CodedError(
      'CONFIG_INVALID',
      `cannot use the tokens in ${path}: ${(cause as Error).message}`,
      'restore the file from a backup; or remove it, and make new tokens for everybody',
      { cause },
    );
  }
}

function parseRecords(text: string): TokenRecord[] {
  const { version, tokens } = JSON.parse(text) ?? {};
  if (version !== VERSION) throw new Error(`it has version ${version}, but this program knows only ${VERSION}`);
  if (!Array.isArray(tokens) || !tokens.every(isRecord)) throw new Error('it is damaged');
  return tokens;
}

function isRecord(found: Partial<TokenRecord> | null): found is TokenRecord {
  const { id, name, rights: given, exports, createdAt, expiresAt, madeBy, parent, hash } = found ?? {};
  return (
    isId(id) &&
    /^[0-9a-f]{64}$/.test(String(hash)) &&
    [name, madeBy].every((text) => text === undefined || typeof text === 'string') &&
    (parent === undefined || isId(parent)) &&
    Array.isArray(given) &&
    given.every((right) => rights.includes(right)) &&
    Array.isArray(exports) &&
    exports.every((pattern) => typeof pattern === 'string') &&
    isTime(createdAt) &&
    (expiresAt === null || isTime(expiresAt))
  );
}

function isId(found: unknown): boolean {
  return typeof found === 'string' && /^[a-z0-9]{8}$/.test(found);
}

function isTime(found: unknown): boolean {
  return typeof found === 'string' && !Number.isNaN(Date.parse(found));
}

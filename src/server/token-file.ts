import { rights } from '../api/values.js';
import { type TokenRecord, TokenStore } from '../control/admission/token-store.js';
import { StateFile } from './state-file.js';

/** More than the largest allowed number of tokens, each with the largest number of long patterns, needs. */
const MAX_FILE_BYTES = 64 * 1024 * 1024;

/** Opens the tokens that were made with `tidemark token create`. @throws CodedError CONFIG_INVALID */
export async function openTokens(stateDirectory: string): Promise<TokenStore> {
  const file = new StateFile(stateDirectory, {
    what: 'tokens',
    mend: 'restore the file from a backup; or remove it, and make new tokens for everybody',
    maxBytes: MAX_FILE_BYTES,
    isItem: isRecord,
  });
  return new TokenStore(await file.read(), (records) => file.save(records));
}

function isRecord(found: unknown): found is TokenRecord {
  const record = (found ?? {}) as Partial<TokenRecord>;
  const { id, name, rights: given, exports, createdAt, expiresAt, madeBy, parent, hash, passing } = record;
  return (
    isId(id) &&
    /^[0-9a-f]{64}$/.test(String(hash)) &&
    [name, madeBy].every((text) => text === undefined || typeof text === 'string') &&
    (parent === undefined || isId(parent)) &&
    (passing === undefined || passing === true) &&
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

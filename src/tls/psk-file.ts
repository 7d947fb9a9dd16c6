import { CodedError } from '../base/coded-error.js';
import { readSecretFile } from './secret-file.js';

/** Shorter keys can be guessed. psktool makes 32 bytes. */
const MIN_KEY_BYTES = 16;
/** What Node's TLS allows. */
const MAX_KEY_BYTES = 256;
const HEX = /^(?:[0-9a-f]{2})+$/i;

/**
 * Reads the keys of a file in the format of GnuTLS's psktool: one `USER:KEY` on each line, with the key as hexadecimal
 * digits. A user of the form `#HEX` is written in hexadecimal digits too. Returns the keys by user.
 * @throws CodedError TLS_UNUSABLE
 */
export async function readPskFile(path: string): Promise<Map<string, Uint8Array>> {
  const text = await readSecretFile(path, 'replace the keys, which others may have read');
  const keys = new Map<string, Uint8Array>();
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === '') continue;
    const problem = takeLine(line, keys);
    if (problem) throw unusable(`${path}, line ${index + 1}: ${problem}`);
  }
  if (keys.size === 0) throw unusable(`the key file ${path} has no keys`);
  return keys;
}

/** Returns what is wrong with the line, without the key. */
function takeLine(line: string, keys: Map<string, Uint8Array>): string | undefined {
  const colon = line.lastIndexOf(':');
  if (colon < 1) return 'expected USER:KEY';
  const user = userOf(line.slice(0, colon));
  const digits = line.slice(colon + 1).trim();
  if (user === undefined) return 'a user that begins with # must be written as hexadecimal digits of UTF-8';
  if (!HEX.test(digits)) return `the key of "${user}" is not an even number of hexadecimal digits`;
  const key = Uint8Array.from(Buffer.from(digits, 'hex'));
  if (key.length < MIN_KEY_BYTES || key.length > MAX_KEY_BYTES) {
    return `the key of "${user}" has ${key.length} bytes (expected ${MIN_KEY_BYTES} to ${MAX_KEY_BYTES})`;
  }
  if (keys.has(user)) return `there is already a key for "${user}"`;
  keys.set(user, key);
  return undefined;
}

function userOf(written: string): string | undefined {
  if (!written.startsWith('#')) return written;
  const digits = written.slice(1);
  if (!HEX.test(digits)) return undefined;
  const bytes = Buffer.from(digits, 'hex');
  const user = bytes.toString('utf8');
  return Buffer.from(user, 'utf8').equals(bytes) ? user : undefined;
}

function unusable(message: string): CodedError {
  return new CodedError('TLS_UNUSABLE', message, 'make keys with psktool -u USER -p FILE, or tidemark tls init');
}

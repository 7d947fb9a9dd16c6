import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { MIB } from '../../base/units.js';
import { STORE_FILE } from './check-lmdb-file.js';
import { COPY_FOLDER, type Walked } from './copy-store.js';
import { putInPlace } from './put-in-place.js';

/** A walk counts as hung after this time plus the time to read the file at the rate below. */
const LEAST_SECONDS = 60;
const LEAST_BYTES_PER_SECOND = 2 * MIB;

/**
 * Reads all of a store in a separate process and returns the damage found. Undefined when there is none, or when the
 * store cannot be opened at all; the caller's own attempt to open it will then give the reason. With `renew`, the store
 * is replaced by a fresh copy, because some damage can be read but crashes the process on the next change.
 */
export async function walkStore(directory: string, { renew }: { renew: boolean }): Promise<string | undefined> {
  const program = fileURLToPath(new URL('./walk-store-process.js', import.meta.url));
  const seconds = LEAST_SECONDS + statSync(join(directory, STORE_FILE)).size / LEAST_BYTES_PER_SECOND;
  const child = spawn(process.execPath, [program, directory, ...(renew ? ['copy'] : [])], {
    stdio: ['ignore', 'pipe', 'ignore'],
    timeout: Math.ceil(seconds * 1000),
    killSignal: 'SIGKILL',
  });
  const [answer, [code, signal]] = await Promise.all([text(child.stdout), once(child, 'close')]);
  if (signal === 'SIGKILL') return 'the process reading it hung or was killed';
  if (signal !== null) return `the process reading it was ended by ${signal}`;
  if (code !== 0) return undefined;
  const { damage, isCopied } = JSON.parse(answer) as Walked;
  if (isCopied) await putInPlace(COPY_FOLDER, directory);
  // An unfinished copy would only waste space.
  else if (renew) rmSync(join(directory, COPY_FOLDER), { recursive: true, force: true });
  return damage || undefined;
}

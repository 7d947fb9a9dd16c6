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

/** After that, and as long as it takes at so many bytes a second, a walk hangs. */
const LEAST_SECONDS = 60;
const LEAST_BYTES_PER_SECOND = 2 * MIB;

/**
 * What is wrong with a store, as far as a process tells that reads all of it; undefined when nothing is, or when it could not
 * be opened at all, for which the one who opens it says why. With `renew` a copy that LMDB has written anew takes the place of
 * the store, for a page can be damaged so that it can be read, and ends the process that changes it.
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
  if (signal === 'SIGKILL') return 'the process that read it was killed, or hung';
  if (signal !== null) return `the process that read it ended by ${signal}`;
  if (code !== 0) return undefined;
  const { damage, isCopied } = JSON.parse(answer) as Walked;
  if (isCopied) await putInPlace(COPY_FOLDER, directory);
  // One that was not finished would take room for good.
  else if (renew) rmSync(join(directory, COPY_FOLDER), { recursive: true, force: true });
  return damage || undefined;
}

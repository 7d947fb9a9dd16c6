import { stat } from 'node:fs/promises';
import { CodedError } from '../base/coded-error.js';
import type { ControlClient } from './control-client.js';

interface ServedDisk {
  readonly name: string;
  readonly path: string;
}

/** Longer than a server takes that is well; nobody waits for one that is not. */
const PATIENCE_MILLISECONDS = 2000;

/** Why a file or device is in use: when a server that answers serves it, that is said in place of the lock's error. */
export async function nameServedDisk(error: unknown, path: string, client: ControlClient): Promise<unknown> {
  if (!(error instanceof CodedError) || error.code !== 'IMAGE_LOCKED') return error;
  const served = await findExport(path, client).catch(() => undefined);
  if (!served) return error;
  return new CodedError(
    'IMAGE_LOCKED',
    `the tidemark server serves ${path} as the export "${served.name}"`,
    `restore to another file, or remove the export first: tidemark export remove ${served.name}`,
    { cause: error },
  );
}

async function findExport(path: string, client: ControlClient): Promise<ServedDisk | undefined> {
  const patient = client.until(AbortSignal.timeout(PATIENCE_MILLISECONDS));
  const { exports } = await patient.get<{ exports: ServedDisk[] }>('exports');
  const wanted = await identityOf(path);
  for (const served of exports) {
    if ((await identityOf(served.path).catch(() => undefined)) === wanted) return served;
  }
  return undefined;
}

/** A device has one under every name. */
async function identityOf(path: string): Promise<string> {
  const found = await stat(path, { bigint: true });
  return found.isBlockDevice() ? `device ${found.rdev}` : `file ${found.dev}:${found.ino}`;
}

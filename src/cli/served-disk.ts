import { stat } from 'node:fs/promises';
import type { ExportDescription } from '../api/export.js';
import { CodedError } from '../base/coded-error.js';
import type { ControlClient } from './control-client.js';

/** A healthy server answers sooner than this. */
const PATIENCE_MILLISECONDS = 2000;

/**
 * If the server serves the file or device that is locked, returns an error that names the export; else `error` itself.
 */
export async function nameServedDisk(error: unknown, path: string, client: ControlClient): Promise<unknown> {
  if (!(error instanceof CodedError) || error.code !== 'IMAGE_LOCKED') return error;
  const served = await findExport(path, client).catch(() => undefined);
  if (!served) return error;
  return new CodedError(
    'IMAGE_LOCKED',
    `the tidemark server serves ${path} as the export "${served.name}"`,
    `restore to another file, or remove the export first with tidemark export remove ${served.name}`,
    { cause: error },
  );
}

async function findExport(path: string, client: ControlClient): Promise<ExportDescription | undefined> {
  const patient = client.until(AbortSignal.timeout(PATIENCE_MILLISECONDS));
  const { exports } = await patient.get<{ exports: ExportDescription[] }>('exports');
  const wanted = await identityOf(path);
  for (const served of exports) {
    const found = served.path === undefined ? undefined : await identityOf(served.path).catch(() => undefined);
    if (found === wanted) return served;
  }
  return undefined;
}

/** The same for all names of one file or device. */
async function identityOf(path: string): Promise<string> {
  const found = await stat(path, { bigint: true });
  return found.isBlockDevice() ? `device ${found.rdev}` : `file ${found.dev}:${found.ino}`;
}

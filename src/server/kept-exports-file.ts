import { isAbsolute } from 'node:path';
import type { BitmapSpec, ExportSpec } from '../api/export.js';
import { minBlockChoices } from '../api/values.js';
import { type KeptExport, KeptExports } from '../export/kept-exports.js';
import { StateFile } from './state-file.js';

/** Enough for 10 000 exports with long names, paths and descriptions. */
const MAX_FILE_BYTES = 128 * 1024 * 1024;

/** Opens the list of the exports that were added while a server ran. @throws CodedError CONFIG_INVALID */
export async function openKeptExports(stateDirectory: string): Promise<KeptExports> {
  const file = new StateFile(stateDirectory, {
    what: 'exports',
    mend: 'restore the file from a backup; or remove it, and add its exports again',
    maxBytes: MAX_FILE_BYTES,
    isItem: isKept,
  });
  return new KeptExports(await file.read(), (kept) => file.save(kept));
}

function isKept(found: unknown): found is KeptExport {
  const { spec, addedAt, by } = (found ?? {}) as Partial<KeptExport>;
  return isSpec(spec) && isText(addedAt) && !Number.isNaN(Date.parse(addedAt)) && isText(by);
}

/** Refuses keys that this version does not know, because serving a disk without one might give rights to somebody. */
function isSpec(found: unknown): found is ExportSpec {
  const { name, path, description, readOnly, format, minBlockBytes, tls, bitmaps, ...unknown } = (found ??
    {}) as Partial<ExportSpec>;
  return (
    Object.keys(unknown).length === 0 &&
    isText(name) &&
    isText(path) &&
    isAbsolute(path) &&
    isMissingOr(isText, description) &&
    (readOnly === undefined || typeof readOnly === 'boolean') &&
    (format === undefined || format === 'raw') &&
    (minBlockBytes === undefined || minBlockChoices.includes(minBlockBytes)) &&
    (tls === undefined || tls === 'required') &&
    (bitmaps === undefined || (Array.isArray(bitmaps) && bitmaps.every(isBitmap)))
  );
}

function isBitmap(found: unknown): found is BitmapSpec {
  const { name, granularityBytes } = (found ?? {}) as Partial<BitmapSpec>;
  return isText(name) && isMissingOr(Number.isSafeInteger, granularityBytes);
}

function isText(found: unknown): found is string {
  return typeof found === 'string';
}

function isMissingOr(isValid: (found: unknown) => boolean, found: unknown): boolean {
  return found === undefined || isValid(found);
}

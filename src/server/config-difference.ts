import { resolve } from 'node:path';
import type { BitmapSpec, ExportSpec } from '../api/export.js';
import type { NotApplied } from '../api/reload.js';
import type { ExportOrigin, MinBlockBytes } from '../api/values.js';
import { DEFAULT_MIN_BLOCK_BYTES } from '../export/block-size.js';

/** An export as it is served. */
export interface ServedExport {
  readonly name: string;
  readonly origin: ExportOrigin;
  /** Absolute. */
  readonly path: string;
  readonly readOnly: boolean;
  readonly minBlockBytes: MinBlockBytes;
  readonly description: string;
  readonly needsTls: boolean;
  readonly bitmaps: readonly string[];
}

/** How what the configuration file says differs from what is served. */
export interface ExportDifference {
  /** They are not served yet. */
  readonly added: readonly ExportSpec[];
  /** They are not served yet either, and their images are those of exports that leave. */
  readonly moved: readonly ExportSpec[];
  /** The names of exports of the file that are not in it any more. */
  readonly removed: readonly string[];
  /** The names of exports that a command has added, and that are in the file now. */
  readonly adopted: readonly string[];
  /** Those with another description, or that need TLS now or need it no longer. */
  readonly described: readonly ExportSpec[];
  /** The bitmaps that they do not have yet. */
  readonly bitmaps: readonly { readonly exportName: string; readonly bitmap: BitmapSpec }[];
  /** What can only change when the export is opened again. */
  readonly notApplied: readonly NotApplied[];
}

/** An export that is served, and what the file says about it. */
interface Present {
  readonly spec: ExportSpec;
  readonly found: ServedExport;
}

/**
 * Compares the exports of the configuration file with what is served. Exports of flags do not take part. Bitmaps that the
 * file does not name stay, and so does the size of a disk.
 */
export function compareExports(specs: readonly ExportSpec[], served: readonly ServedExport[]): ExportDifference {
  const byName = new Map(served.map((one) => [one.name, one]));
  const wanted = new Set(specs.map(({ name }) => name));
  const leaving = served.filter(({ name, origin }) => origin === 'file' && !wanted.has(name));
  const freed = new Set(leaving.map(({ path }) => path));
  const missing = specs.filter(({ name }) => !byName.has(name));
  const present = specs.flatMap((spec) => {
    const found = byName.get(spec.name);
    return found ? [{ spec, found }] : [];
  });
  const [own, foreign] = [present.filter(isSame), present.filter((one) => !isSame(one))];
  return {
    added: missing.filter(({ path }) => !freed.has(resolve(path))),
    moved: missing.filter(({ path }) => freed.has(resolve(path))),
    removed: leaving.map(({ name }) => name),
    adopted: own.flatMap(({ found }) => (found.origin === 'file' ? [] : [found.name])),
    described: own.flatMap(({ spec, found }) => (isDescribedAs(spec, found) ? [] : [spec])),
    bitmaps: own.flatMap(newBitmaps),
    notApplied: [...foreign.map(refuseForeign), ...own.flatMap(fixedChanges)],
  };
}

/** Whether the file means the export that is served: its own, or the same disk. */
function isSame({ spec, found }: Present): boolean {
  return found.origin === 'file' || found.path === resolve(spec.path);
}

function isDescribedAs({ description = '', tls }: ExportSpec, found: ServedExport): boolean {
  return description === found.description && (tls === 'required') === found.needsTls;
}

function newBitmaps({ spec: { name, bitmaps = [] }, found }: Present) {
  const missing = bitmaps.filter((bitmap) => !found.bitmaps.includes(bitmap.name));
  return missing.map((bitmap) => ({ exportName: name, bitmap }));
}

function refuseForeign({ found: { name, path } }: Present): NotApplied {
  const why = `a command has added an export of this name, of ${path}; ${reopen(name)}`;
  return { setting: `export ${name}`, why };
}

function fixedChanges({ spec, found }: Present): NotApplied[] {
  const { name, readOnly = false, minBlockBytes = DEFAULT_MIN_BLOCK_BYTES } = spec;
  const changed = [
    ...(resolve(spec.path) === found.path ? [] : ['path']),
    ...(readOnly === found.readOnly ? [] : ['readonly']),
    ...(minBlockBytes === found.minBlockBytes ? [] : ['min-block']),
  ];
  if (changed.length === 0) return [];
  const why = `a disk that is served keeps its ${changed.join(' and ')}; ${reopen(name)}`;
  return [{ setting: `export ${name}`, why }];
}

function reopen(name: string): string {
  return `run tidemark export remove ${name}, then reload`;
}

import type { ExportSpec } from '../api/export.js';
import { CodedError } from '../base/coded-error.js';
import type { Log } from '../base/log.js';
import type { KeyValueStore } from '../bitmap/store/key-value-store.js';
import { readExport } from '../bitmap/store/stored-exports.js';
import type { Export } from '../export/export.js';
import type { KeptExports } from '../export/kept-exports.js';
import type { ExportRegistry } from '../export/registry.js';

export interface KeptHost {
  readonly kept: KeptExports;
  readonly exports: ExportRegistry;
  /** Opens all of them or none. */
  readonly open: (specs: readonly ExportSpec[]) => Promise<Export[]>;
  /** Undefined: bitmaps are kept only in memory. */
  readonly store: KeyValueStore | undefined;
  /** Why the store may have lost bitmaps. Undefined if it has not. */
  readonly lost: string | undefined;
  readonly log: Log;
}

/**
 * Serves the kept exports after those of the configuration, which win. One that cannot be opened is logged, and stays in
 * the list, so that a disk that is missing at one start is there again at the next. @throws CodedError STORE_UNUSABLE if
 * the list cannot be written
 */
export async function serveKept(host: KeptHost): Promise<void> {
  const { kept, exports, log } = host;
  for (const { name } of exports.list()) {
    if (!kept.has(name)) continue;
    await kept.forget(name);
    log.warn({ export: name }, 'the configuration has an export of this name, so the one that was added is forgotten');
  }
  const specs = kept.list().map(({ spec }) => withoutKnownBitmaps(spec, host));
  try {
    await serveTogether(specs, host);
  } catch {
    for (const spec of specs) await serveOne(spec, host);
  }
}

/** The names of the kept exports that are served now, and those that still cannot be opened. */
export interface RetriedExports {
  readonly served: readonly string[];
  readonly failed: readonly { readonly name: string; readonly problem: string }[];
}

/** Tries to open those that could not be opened before. */
export async function retryKept(host: KeptHost): Promise<RetriedExports> {
  const { kept, exports } = host;
  const unserved = new Set(kept.unserved().map(({ name }) => name));
  const served: string[] = [];
  for (const { spec } of kept.list().filter((one) => unserved.has(one.spec.name))) {
    if (!(await serveOne(withoutKnownBitmaps(spec, host), host))) continue;
    // Somebody may have given it up meanwhile.
    if (kept.has(spec.name)) served.push(spec.name);
    else await exports.remove(spec.name);
  }
  return { served, failed: kept.unserved() };
}

async function serveOne(spec: ExportSpec, host: KeptHost): Promise<boolean> {
  try {
    await serveTogether([spec], host);
    return true;
  } catch (err) {
    noteFailure(spec, err, host);
    return false;
  }
}

async function serveTogether(specs: readonly ExportSpec[], { exports, kept, open }: KeptHost): Promise<void> {
  const wanted = specs.map((spec) => ({ spec, origin: 'kept' as const }));
  await exports.addTogether(wanted, () => open(specs));
  for (const { name } of specs) kept.noteServed(name);
}

/** The store has the bitmaps of the export. One that was removed from it since must not come back. */
function withoutKnownBitmaps(spec: ExportSpec, { store, lost }: KeptHost): ExportSpec {
  return store && lost === undefined && readExport(store, spec.name) ? { ...spec, bitmaps: [] } : spec;
}

function noteFailure({ name, path }: ExportSpec, err: unknown, { kept, log }: KeptHost): void {
  const { message } = err as Error;
  kept.noteProblem(name, message);
  const cause = err instanceof CodedError ? { code: err.code } : { err };
  log.error(
    { export: name, path, ...cause, hint: `mend it and reload, or give it up with tidemark export remove ${name}` },
    `an export that was added earlier cannot be served: ${message}`,
  );
}

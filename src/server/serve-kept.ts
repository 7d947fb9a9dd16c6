import type { ExportSpec } from '../api/export.js';
import { CodedError } from '../base/coded-error.js';
import type { Log } from '../base/log.js';
import type { KeyValueStore } from '../bitmap/store/key-value-store.js';
import { readExport } from '../bitmap/store/stored-exports.js';
import type { Export } from '../export/export.js';
import type { KeptExports } from '../export/kept-exports.js';
import type { ExportRegistry } from '../export/registry.js';

interface KeptHost {
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
  for (const name of exports.list().map((served) => served.name)) {
    if (!kept.list().some(({ spec }) => spec.name === name)) continue;
    await kept.forget(name);
    log.warn({ export: name }, 'the configuration has an export of this name, so the one that was added is forgotten');
  }
  const specs = kept.list().map(({ spec }) => withoutKnownBitmaps(spec, host));
  try {
    await serveTogether(specs, host);
  } catch {
    for (const spec of specs) await serveTogether([spec], host).catch((err: unknown) => noteFailure(spec, err, host));
  }
}

function serveTogether(specs: readonly ExportSpec[], { exports, open }: KeptHost): Promise<void> {
  const wanted = specs.map((spec) => ({ spec, origin: 'kept' as const }));
  return exports.addTogether(wanted, () => open(specs));
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
    { export: name, path, ...cause, hint: `mend it and restart, or give it up with tidemark export remove ${name}` },
    `an export that was added earlier cannot be served: ${message}`,
  );
}

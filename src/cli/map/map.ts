import { BASE_ALLOCATION, DIRTY_BITMAP_PREFIX } from '../../base/metadata-contexts.js';
import { printable } from '../../base/printable.js';
import { NbdUnsupportedError } from '../../client/errors.js';
import type { TlsDefaults } from '../../client/find-tls-files.js';
import { listContexts } from '../../client/listing.js';
import { NbdClient } from '../../client/nbd-client.js';
import type { NbdTarget } from '../../client/nbd-uri.js';
import { toJson } from '../output.js';
import { drawMap } from './map-drawing.js';
import { layoutMap } from './map-layout.js';
import { collectExtents, surveyExport } from './map-survey.js';

export interface MapOptions {
  /** Name of a context or dirty bitmap to show. The default is allocation and all dirty bitmaps. */
  readonly context?: string | undefined;
  readonly json?: boolean | undefined;
  /** Certificates and keys for a URI that asks for TLS and names none. */
  readonly tls?: TlsDefaults | undefined;
}

/** Properties of the output that a map is drawn on. */
export interface Screen {
  readonly columns: number;
  readonly colours: boolean;
}

/** Makes the output of `tidemark map` for an export. @throws NbdClientError */
export async function renderMap(target: NbdTarget, options: MapOptions, screen: Screen): Promise<string> {
  const { exportName } = target;
  const { tls } = options;
  const contexts = chooseContexts(exportName, await listContexts(target, [], { tls }), options.context);
  const client = await NbdClient.connect(target, { contexts, tls });
  try {
    const missing = contexts.find((name) => !client.contexts.includes(name));
    if (missing !== undefined)
      throw new NbdUnsupportedError(`${quote(exportName)} no longer has "${printable(missing)}"`);
    const { sizeBytes } = client;
    if (options.json) {
      return toJson({ export: exportName, sizeBytes, contexts: await collectExtents(client) }, 2);
    }
    const layout = layoutMap(sizeBytes, screen.columns);
    return drawMap({ exportName, layout, contexts: await surveyExport(client, layout) }, screen.colours);
  } finally {
    await client.disconnect();
  }
}

/** @throws NbdUnsupportedError when there is nothing to show */
function chooseContexts(exportName: string, offered: readonly string[], wanted: string | undefined): string[] {
  if (wanted === undefined) {
    const chosen = offered.filter((name) => name === BASE_ALLOCATION || name.startsWith(DIRTY_BITMAP_PREFIX));
    if (chosen.length > 0) return chosen;
    throw new NbdUnsupportedError(`the server offers neither allocation nor dirty bitmaps for ${quote(exportName)}`);
  }
  const chosen = [wanted, DIRTY_BITMAP_PREFIX + wanted].find((name) => offered.includes(name));
  if (chosen !== undefined) return [chosen];
  const hint = offered.length === 0 ? 'it has none' : `it has ${offered.map(printable).join(', ')}`;
  throw new NbdUnsupportedError(`${quote(exportName)} has no metadata context "${wanted}"`, hint);
}

function quote(exportName: string): string {
  return exportName === '' ? 'the default export' : `the export "${printable(exportName)}"`;
}

/** The program's stdout. Without a terminal it has 80 columns and no colours; NO_COLOR also turns colours off. */
export function outputScreen(): Screen {
  const { stdout } = process;
  return { columns: stdout.columns ?? 80, colours: stdout.isTTY && stdout.hasColors() };
}

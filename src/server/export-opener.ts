import type { ExportSpec } from '../api/export.js';
import type { Log } from '../base/log.js';
import { Turnstile } from '../base/turnstile.js';
import type { Export } from '../export/export.js';
import { KeptExports } from '../export/kept-exports.js';
import { ExportRegistry } from '../export/registry.js';
import { loadPosix } from '../posix/posix.js';
import type { ServerConfig } from './config.js';
import { DiskClaims } from './disk-claims.js';
import { type ExportSource, ImagePlaces } from './image-places.js';
import { openKeptExports } from './kept-exports-file.js';
import { openExports } from './open-export.js';
import type { ExportHost } from './prepare-export.js';
import { type KeptHost, type RetriedExports, retryKept, serveKept } from './serve-kept.js';
import type { StateDirectory } from './state-directory.js';

/** How many exports are opened at a time before clients are served. */
const OPENED_AT_START = 32;
/** How many are opened at a time afterwards. Each occupies a thread of the pool while its file system hangs. */
const OPENED_WHILE_SERVING = 4;

/** Opens the exports of a server: those of its configuration, those that were added earlier, and those added while it runs. */
export class ExportOpener {
  readonly exports: ExportRegistry;
  private readonly claims = new DiskClaims();
  private readonly openings = new Turnstile(OPENED_WHILE_SERVING);
  private keptExports = new KeptExports();
  private state: StateDirectory | undefined;
  private places: ImagePlaces | undefined;

  constructor(
    private readonly config: ServerConfig,
    private readonly log: Log,
  ) {
    this.exports = new ExportRegistry(async (spec) => (await this.open('api', [spec]))[0]!);
  }

  /** The exports that are served again after a restart. */
  get kept(): KeptExports {
    return this.keptExports;
  }

  /** Serves the exports of the configuration, then those that were kept. @throws CodedError as `openExports` */
  async openAll(state: StateDirectory | undefined): Promise<void> {
    const { exports, stateDirectory, persistence } = this.config;
    if (state) this.keptExports = await openKeptExports(stateDirectory);
    if (!persistence.transient) this.state = state;
    this.places = await ImagePlaces.open(this.config);
    const places = new Turnstile(OPENED_AT_START);
    const specs = exports.map(({ spec }) => spec);
    await this.exports.addTogether(exports, () => this.open('operator', specs, places));
    if (this.servesKept) await serveKept(this.keptHost(places));
    const isServed = ({ spec: { name } }: { spec: ExportSpec }) => this.exports.list().some((one) => one.name === name);
    // Whether the bitmaps of an export were lost is known until it is served.
    if (this.kept.list().every(isServed)) await this.state?.store.acceptLoss();
  }

  /** Tries those again that could not be opened. */
  async retryKept(): Promise<RetriedExports> {
    return retryKept(this.keptHost(this.openings));
  }

  /** Opens all of them or none; the caller serves them. @throws CodedError as `openExports` */
  open(source: ExportSource, specs: readonly ExportSpec[], places = this.openings): Promise<Export[]> {
    return openExports(specs, this.exportHost(), source, places);
  }

  /** A server that accepts no commands does not serve kept exports, because nobody could remove them. */
  private get servesKept(): boolean {
    return this.config.controlPath !== undefined;
  }

  private keptHost(places: Turnstile): KeptHost {
    const { kept, exports, state, log } = this;
    const open = (specs: readonly ExportSpec[]) => this.open('api', specs, places);
    return { kept, exports, open, store: state?.store.entries, lost: state?.store.lost, log };
  }

  private exportHost(): ExportHost {
    const { places, state, claims, log } = this;
    const { persistence, cutTimeoutSeconds, latencyBounds, tls } = this.config;
    return {
      store: state?.store.entries,
      lost: state?.store.lost,
      hasTls: tls.mode !== 'none',
      persistence,
      cutTimeoutSeconds,
      latencyBounds,
      places,
      posix: loadPosix(),
      claims,
      log,
    };
  }
}

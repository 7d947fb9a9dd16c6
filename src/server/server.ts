import { Policy } from '../access/access.js';
import { AccessRules } from '../access/access-rules.js';
import { Refusals } from '../access/refusals.js';
import type { ExportSpec } from '../api/export.js';
import { Backups } from '../backup/backups.js';
import { ScratchDirectory } from '../backup/scratch-directory.js';
import { Cleanup } from '../base/cleanup.js';
import type { Log } from '../base/log.js';
import { giveWay } from '../base/loop-share.js';
import { Turnstile } from '../base/turnstile.js';
import { SignInCodes } from '../control/admission/sign-in-codes.js';
import type { ControlHost, ServerFacts } from '../control/control-host.js';
import type { ControlServer } from '../control/control-server.js';
import type { Export } from '../export/export.js';
import { KeptExports } from '../export/kept-exports.js';
import { ExportRegistry } from '../export/registry.js';
import { loadPosix } from '../posix/posix.js';
import type { TlsSettings } from '../tls/tls-settings.js';
import { EventFeed } from '../watch/event-feed.js';
import { EventHistory } from '../watch/event-history.js';
import { logEvents } from '../watch/event-log.js';
import { warnOfAccess } from './access-config.js';
import type { ServerConfig } from './config.js';
import { httpToken, listenForCommands, listenForHttp } from './control-addresses.js';
import { checkOpenFiles, openFilesLimit } from './descriptor-limit.js';
import { DiskClaims } from './disk-claims.js';
import { type Credentials, type Groundwork, readCredentials } from './groundwork.js';
import { type ExportSource, ImagePlaces } from './image-places.js';
import { openKeptExports } from './kept-exports-file.js';
import { listenForClients, type NbdAddresses } from './nbd-addresses.js';
import { NbdListener } from './nbd-listener.js';
import { openExports } from './open-export.js';
import { stdioPeer } from './peer.js';
import type { ExportHost } from './prepare-export.js';
import { serveKept } from './serve-kept.js';
import { serverFacts } from './server-facts.js';
import type { StateDirectory } from './state-directory.js';
import { stdioIsSocket, stdioSocket } from './stdio-socket.js';
import { Stopping } from './stopping.js';
import { openTokens } from './token-file.js';

/** How often regions are cooled and leases are checked. */
const CLOCK_MILLISECONDS = 1000;
/** How many exports are opened at a time before clients are served. */
const OPENED_AT_START = 32;

/** A running server: its exports, the addresses it listens on, and its control API. */
export class TidemarkServer {
  private readonly cleanup = new Cleanup();
  private readonly stopping: Stopping;
  private readonly exports: ExportRegistry;
  private rules = new AccessRules([]);
  private readonly policy = new Policy(this.rules);
  private readonly refusals: Refusals;
  private readonly claims = new DiskClaims();
  /** Limits how many exports are opened at a time. Each occupies a thread of the pool while its file system hangs. */
  private readonly openings = new Turnstile(4);
  private kept = new KeptExports();
  private readonly listener: NbdListener;
  private events = new EventFeed();
  private history!: EventHistory;
  private readonly startedAt = new Date();
  private addresses: NbdAddresses = { tcp: [], unixPath: undefined };
  private stdioClient: Promise<void> | undefined;
  private tls: TlsSettings | undefined;
  private control: ControlServer | undefined;
  private http: ServerFacts['http'];
  private state: StateDirectory | undefined;
  private places: ImagePlaces | undefined;

  private constructor(
    private readonly config: ServerConfig,
    private readonly log: Log,
    private readonly version: string,
  ) {
    this.stopping = new Stopping(config.stopTimeoutSeconds, log);
    this.refusals = new Refusals(log);
    const posix = loadPosix();
    this.exports = new ExportRegistry(async (spec) => {
      const [opened] = await this.openFrom('api', [spec], this.openings);
      return opened!;
    });
    this.listener = new NbdListener({
      exports: this.exports,
      policy: this.policy,
      refusals: this.refusals,
      log,
      limits: config.limits,
      posix,
    });
  }

  /**
   * Opens the exports, then listens, and accepts commands last: when the control socket answers, the server is ready. After
   * a failure, undoes what was done, the groundwork too. @throws CodedError
   */
  static async start(config: ServerConfig, log: Log, version: string, groundwork: Groundwork): Promise<TidemarkServer> {
    const server = new TidemarkServer(config, log, version);
    try {
      await server.open(groundwork);
    } catch (error) {
      await server.stop();
      throw error;
    }
    return server;
  }

  /** Resolves when the client on stdin and stdout has gone. Never resolves if there is no such client. */
  get clientGone(): Promise<void> {
    return this.stdioClient ?? new Promise(() => {});
  }

  /**
   * Stops accepting commands and clients, finishes requests in flight, makes everything durable and closes the disks.
   * Always takes all steps, then rejects with the first failure.
   */
  stop(): Promise<void> {
    return this.cleanup.run();
  }

  /**
   * Uses the access rules, certificates and keys of this configuration from now on, and the operator's token that is in
   * its file now. Connections go on, except those of clients who may not use their export any more. Changes nothing if it
   * rejects. @throws CodedError TLS_UNUSABLE, CONFIG_INVALID
   */
  async reload(config: ServerConfig): Promise<void> {
    const credentials = await readCredentials(config);
    // The file is the one of the start, because another one needs a restart.
    const token = this.control && (await httpToken(this.config));
    // From here on nothing fails.
    this.use(credentials);
    if (token) this.control?.useToken(token.token);
    this.refusals.forgiveAll();
    this.listener.recheckRights();
  }

  private use({ tls, rules }: Credentials): void {
    if (tls) {
      this.tls = tls.settings;
      this.listener.useTls(tls.mode, tls.settings);
      this.control?.useTls(tls.settings);
    }
    this.rules = rules;
    this.policy.current = rules;
  }

  private async open({ credentials, state }: Groundwork): Promise<void> {
    const { config, cleanup } = this;
    cleanup.defer(() => state?.close());
    if (state) this.kept = await openKeptExports(config.stateDirectory);
    if (!config.persistence.transient) this.state = state;
    this.use(credentials);
    await this.openEvents();
    cleanup.defer(() => this.stopping.closeExports(this.exports));
    this.places = await ImagePlaces.open(config);
    await this.openConfigured();
    await this.openKept();
    await this.state?.store.unmap();
    const backups = await this.openBackups();
    this.startClock(backups);
    await this.listen();
    await this.openControl(backups);
    const { maxConnections } = config.limits;
    checkOpenFiles(await openFilesLimit(), { maxConnections, exports: this.exports.list().length }, this.log);
    this.tellOfStart();
  }

  private tellOfStart(): void {
    const { version, pid, stateDirectory: state, nbd } = this.facts();
    const exportCount = this.exports.list().length;
    this.events.publish({ type: 'server-started', version, pid, state, ...nbd, exportCount });
    this.cleanup.defer(() => this.events.publish({ type: 'server-stopping' }));
  }

  private openConfigured(): Promise<void> {
    const { exports } = this.config;
    const specs = exports.map(({ spec }) => spec);
    return this.exports.addTogether(exports, () => this.openFrom('operator', specs, new Turnstile(OPENED_AT_START)));
  }

  /** A server that accepts no commands does not serve kept exports, because nobody could remove them. */
  private async openKept(): Promise<void> {
    const { kept, exports, state, log } = this;
    if (this.config.controlPath !== undefined) {
      const open = (specs: readonly ExportSpec[]) => this.openFrom('api', specs, new Turnstile(OPENED_AT_START));
      await serveKept({ kept, exports, open, store: state?.store.entries, lost: state?.store.lost, log });
    }
    // Whether the bitmaps of an export were lost is known until it is served.
    if (kept.list().every(({ spec }) => exports.find(spec.name))) await state?.store.acceptLoss();
  }

  private openFrom(source: ExportSource, specs: readonly ExportSpec[], places: Turnstile): Promise<Export[]> {
    return openExports(specs, this.exportHost(), source, places);
  }

  private exportHost(): ExportHost {
    const { places, state, claims, log } = this;
    const { persistence, cutTimeoutSeconds, latencyBounds, tls } = this.config;
    const stored = { store: state?.store.entries, lost: state?.store.lost };
    return {
      ...stored,
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

  private async openEvents(): Promise<void> {
    const { config, log } = this;
    this.history = await EventHistory.open(this.state && config.stateDirectory, log);
    this.cleanup.defer(() => this.stopping.inTime('events could not be written', this.history.close()));
    this.events = new EventFeed(this.history.lastId);
    logEvents(this.events, log);
    this.history.follow(this.events);
  }

  private async openBackups(): Promise<Backups> {
    const { exports, log, events, config } = this;
    const scratch = new ScratchDirectory(config.scratchDirectory, { posix: loadPosix(), log });
    const publish = events.publish.bind(events);
    const backups = await Backups.open({ exports, store: this.state?.store.entries, scratch, log, publish });
    this.cleanup.defer(() => this.stopping.inTime('backups could not be aborted', backups.close()));
    return backups;
  }

  private startClock(backups: Backups): void {
    const timer = setInterval(() => {
      void this.tickExports();
      void backups.tick();
    }, CLOCK_MILLISECONDS);
    this.cleanup.defer(() => clearInterval(timer));
  }

  /** A tick of an idle export takes some microseconds, so very many of them leave turns to other work. */
  private async tickExports(): Promise<void> {
    for (const served of this.exports.list()) {
      await giveWay();
      void served.tick();
    }
  }

  private async listen(): Promise<void> {
    const { stdio, inheritedSockets } = this.config;
    this.cleanup.defer(() => this.stopping.inTime('clients still wait for answers', this.listener.drain()));
    // With --stdio, programs that use libnbd may pass a listening socket instead. systemd passes stdin as an inherited
    // socket too.
    if (stdio && (inheritedSockets.length === 0 || stdioIsSocket())) {
      const socket = stdioSocket();
      this.stdioClient = this.listener.adopt(socket, stdioPeer(socket, loadPosix()));
      return;
    }
    this.addresses = await listenForClients(this.listener, this.config);
    warnOfAccess(
      this.config,
      { rules: this.rules, tcp: this.addresses.tcp, knowsPeers: loadPosix() !== undefined },
      this.log,
    );
  }

  private async openControl(backups: Backups): Promise<void> {
    const { config, log } = this;
    if (config.controlPath === undefined) return;
    const token = await httpToken(config);
    const tokens = await openTokens(config.stateDirectory);
    const host: ControlHost = {
      exports: this.exports,
      kept: this.kept,
      policy: this.policy,
      backups,
      events: this.events,
      history: this.history,
      tokens,
      signInCodes: new SignInCodes(),
      refusals: this.refusals,
      log: this.log,
      describeServer: () => this.facts(),
    };
    // Loaded after the disks are being served, because it takes as long to load as everything else together.
    const { ControlServer } = await import('../control/control-server.js');
    const control = new ControlServer(host);
    this.control = control;
    this.cleanup.defer(() => this.stopping.inTime('commands still wait for answers', control.close()));
    await listenForCommands(control, config.controlPath);
    this.http = await listenForHttp(control, config, { token, tls: this.tls }, log);
  }

  private facts(): ServerFacts {
    const { config, version, startedAt, listener, addresses, http } = this;
    return serverFacts({ config, version, startedAt, listener, addresses, http, persistent: this.state !== undefined });
  }
}

import { Policy } from '../access/access.js';
import { AccessRules } from '../access/access-rules.js';
import { Refusals } from '../access/refusals.js';
import type { ReloadReport } from '../api/reload.js';
import { Backups } from '../backup/backups.js';
import { ScratchDirectory } from '../backup/scratch-directory.js';
import { assert } from '../base/assert.js';
import { Cleanup } from '../base/cleanup.js';
import type { Log } from '../base/log.js';
import { giveWay } from '../base/loop-share.js';
import { SignInCodes } from '../control/admission/sign-in-codes.js';
import type { ControlHost, ServerFacts } from '../control/control-host.js';
import type { ControlServer } from '../control/control-server.js';
import type { ExportRegistry } from '../export/registry.js';
import { loadPosix } from '../posix/posix.js';
import type { TlsSettings } from '../tls/tls-settings.js';
import type { Thresholds } from '../watch/thresholds/thresholds.js';
import { warnOfAccess } from './access-config.js';
import type { ServerConfig } from './config.js';
import { httpToken, listenForCommands, listenForHttp } from './control-addresses.js';
import { checkOpenFiles, openFilesLimit } from './descriptor-limit.js';
import { ExportOpener } from './export-opener.js';
import { type Credentials, type Groundwork, readCredentials } from './groundwork.js';
import { listenForClients, type NbdAddresses } from './nbd-addresses.js';
import { NbdListener } from './nbd-listener.js';
import { openThresholds } from './open-thresholds.js';
import { stdioPeer } from './peer.js';
import { type Configuration, Reloader } from './reload.js';
import { ExportReload } from './reload-exports.js';
import { openEvents, type ServerEvents } from './server-events.js';
import { serverFacts } from './server-facts.js';
import type { LogControl } from './server-log.js';
import type { StateDirectory } from './state-directory.js';
import { stdioIsSocket, stdioSocket } from './stdio-socket.js';
import { Stopping } from './stopping.js';
import { openTokens } from './token-file.js';

/** How often regions are cooled and leases are checked. */
const CLOCK_MILLISECONDS = 1000;

/** A running server: its exports, the addresses it listens on, and its control API. */
export class TidemarkServer {
  private readonly cleanup = new Cleanup();
  private readonly stopping: Stopping;
  private readonly opener: ExportOpener;
  private rules = new AccessRules([]);
  private readonly policy = new Policy(this.rules);
  private readonly refusals: Refusals;
  private readonly listener: NbdListener;
  private events!: ServerEvents;
  private readonly startedAt = new Date();
  private addresses: NbdAddresses = { tcp: [], unixPath: undefined };
  private stdioClient: Promise<void> | undefined;
  private tls: TlsSettings | undefined;
  private control: ControlServer | undefined;
  private http: ServerFacts['http'];
  private state: StateDirectory | undefined;
  private reloader: Reloader | undefined;
  private readonly config: ServerConfig;
  private readonly log: Log;

  private constructor(
    private readonly configuration: Configuration,
    private readonly logControl: LogControl,
    private readonly version: string,
  ) {
    const { config } = configuration;
    const { log } = logControl;
    this.config = config;
    this.log = log;
    this.stopping = new Stopping(config.stopTimeoutSeconds, log);
    this.refusals = new Refusals(log);
    const posix = loadPosix();
    this.opener = new ExportOpener(config, log);
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
  static async start(
    configuration: Configuration,
    logControl: LogControl,
    version: string,
    groundwork: Groundwork,
  ): Promise<TidemarkServer> {
    const server = new TidemarkServer(configuration, logControl, version);
    try {
      await server.open(groundwork);
    } catch (error) {
      await server.stop();
      throw error;
    }
    return server;
  }

  private get exports(): ExportRegistry {
    return this.opener.exports;
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
   * Reads the configuration again and uses it from now on, as far as a running server can; `by` says who asks. Connections
   * go on, except those of clients who may not use their export any more. @throws CodedError; nothing has changed then
   */
  async reload(by: string): Promise<ReloadReport> {
    assert(this.reloader !== undefined, 'the server has started');
    return this.reloader.run(by);
  }

  private async apply(next: ServerConfig, by: string, backups: Backups): Promise<ReloadReport> {
    const credentials = await readCredentials(next);
    // The file is the one of the start, because another one needs a restart.
    const token = this.control && (await httpToken(this.config));
    const { opener } = this;
    const events = this.events.feed;
    const exports = new ExportReload({ opener, backups, events, hasTls: credentials.tls !== undefined }, by);
    return exports.run(next.exports, () => {
      this.use(credentials);
      if (token) this.control?.useToken(token.token);
      this.refusals.forgiveAll();
      this.logControl.setLevel(next.logLevel);
      this.listener.useLogLevel();
      this.listener.recheckRights();
    });
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
    const { config, cleanup, log, stopping } = this;
    cleanup.defer(() => state?.close());
    if (!config.persistence.transient) this.state = state;
    this.use(credentials);
    this.events = await openEvents(config, this.state && config.stateDirectory, { cleanup, log, stopping });
    cleanup.defer(() => this.stopping.closeExports(this.exports));
    await this.opener.openAll(state);
    await this.state?.store.unmap();
    const backups = await this.openBackups();
    const watched = { exports: this.exports, backups, ...this.events };
    const thresholds = await openThresholds(config, state && config.stateDirectory, watched);
    this.startClock(backups, thresholds);
    await this.listen();
    this.reloader = this.openReloader(backups, thresholds);
    await this.openControl(backups, thresholds);
    const { maxConnections } = config.limits;
    checkOpenFiles(await openFilesLimit(), { maxConnections, exports: this.exports.list().length }, this.log);
    this.tellOfStart();
  }

  private tellOfStart(): void {
    const { version, pid, stateDirectory: state, nbd } = this.facts();
    const exportCount = this.exports.list().length;
    this.events.feed.publish({ type: 'server-started', version, pid, state, ...nbd, exportCount });
    this.cleanup.defer(() => this.events.feed.publish({ type: 'server-stopping' }));
  }

  private async openBackups(): Promise<Backups> {
    const { exports, log, events, config } = this;
    const scratch = new ScratchDirectory(config.scratchDirectory, { posix: loadPosix(), log });
    const publish = events.feed.publish.bind(events.feed);
    const backups = await Backups.open({ exports, store: this.state?.store.entries, scratch, log, publish });
    this.cleanup.defer(() => this.stopping.inTime('backups could not be aborted', backups.close()));
    return backups;
  }

  private startClock(backups: Backups, thresholds: Thresholds): void {
    const timer = setInterval(() => {
      void this.tickExports();
      void backups.tick();
      void thresholds.tick();
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

  private openReloader(backups: Backups, thresholds: Thresholds): Reloader {
    const { configuration } = this;
    const use = async (next: ServerConfig, by: string) => {
      const report = await this.apply(next, by, backups);
      await thresholds.configure(next.thresholds);
      return report;
    };
    const reloader = new Reloader({ configuration, use, events: this.events.feed });
    this.cleanup.defer(() => this.stopping.inTime('a reload goes on', reloader.close()));
    return reloader;
  }

  private async openControl(backups: Backups, thresholds: Thresholds): Promise<void> {
    const { config, log } = this;
    if (config.controlPath === undefined) return;
    const token = await httpToken(config);
    const tokens = await openTokens(config.stateDirectory);
    const host: ControlHost = {
      exports: this.exports,
      kept: this.opener.kept,
      policy: this.policy,
      backups,
      events: this.events.feed,
      history: this.events.history,
      hooks: this.events.hooks,
      thresholds,
      tokens,
      signInCodes: new SignInCodes(),
      refusals: this.refusals,
      log: this.log,
      reload: (by) => this.reload(by),
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

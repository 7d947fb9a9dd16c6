import { CodedError } from '../base/coded-error.js';
import type { Log } from '../base/log.js';
import { Turnstile } from '../base/turnstile.js';
import type { ServerConfig } from './config.js';
import { changedSettings, type GivenSettings, type SettingKey } from './settings.js';

/** What was read again. */
export interface Reread {
  readonly config: ServerConfig;
  /** What the configuration file says. */
  readonly file: GivenSettings;
}

/** What a reload replaces. The others need a restart. */
const REPLACED: ReadonlySet<SettingKey> = new Set(['access', 'tls-certificates', 'tls-psk']);

/** Makes a running server use its configuration file, certificates and keys as they are now. One reload runs at a time. */
export class Reloader {
  private readonly turns = new Turnstile(1);

  constructor(
    private readonly started: Reread,
    private readonly reread: () => Promise<Reread>,
    /** All of it, or if it rejects nothing. */
    private readonly use: (config: ServerConfig) => Promise<void>,
    private readonly log: Log,
  ) {}

  /** Never rejects: what cannot be used is logged, and the server goes on with what it had. */
  run(): Promise<void> {
    return this.turns.pass(() => this.reload().catch((err: unknown) => this.keepOld(err)));
  }

  private async reload(): Promise<void> {
    const next = await this.reread();
    this.checkMode(next);
    await this.use(next.config);
    // Named at each reload until the restart.
    const changed = changedSettings(this.started.file, next.file).filter((key) => !REPLACED.has(key));
    if (changed.length > 0) {
      const hint = 'restart the server for them to take effect';
      this.log.warn({ settings: changed, hint }, 'some settings have changed that a reload does not replace');
    }
    this.log.info({}, 'reloaded the access rules, certificates and keys');
  }

  /** Whether clients can use TLS is settled at the start. @throws CodedError CONFIG_INVALID */
  private checkMode({ config }: Reread): void {
    const { mode } = this.started.config.tls;
    if (config.tls.mode === mode) return;
    const what = `tls changes from ${mode} to ${config.tls.mode}, which needs a restart`;
    throw new CodedError('CONFIG_INVALID', what, 'restart the server, or undo that change');
  }

  private keepOld(err: unknown): void {
    if (!(err instanceof CodedError)) this.log.error({ err }, 'kept the old access rules, certificates and keys');
    else {
      const { code, hint } = err;
      this.log.error({ code, hint }, `kept the old access rules, certificates and keys: ${err.message}`);
    }
  }
}

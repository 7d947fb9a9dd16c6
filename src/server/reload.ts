import { isDeepStrictEqual } from 'node:util';
import type { ReloadReport } from '../api/reload.js';
import { CodedError } from '../base/coded-error.js';
import { Turnstile } from '../base/turnstile.js';
import type { EventFeed } from '../watch/event-feed.js';
import type { ServerConfig } from './config.js';
import { changedSettings, type GivenSettings, type SettingKey } from './settings.js';

/** What was read again. */
export interface Reread {
  readonly config: ServerConfig;
  /** What the configuration file says. */
  readonly file: GivenSettings;
}

/** The configuration of a server at its start, and how to read it again. */
export interface Configuration extends Reread {
  readonly reread: () => Promise<Reread>;
}

/** What a reload replaces. The others need a restart. */
const REPLACED: ReadonlySet<SettingKey> = new Set([
  'access',
  'export',
  'log-level',
  'threshold',
  'tls-certificates',
  'tls-psk',
]);

interface ReloaderParts {
  readonly configuration: Configuration;
  /** Applies a configuration. Returns what became of its exports. If it rejects, nothing has changed. */
  readonly use: (config: ServerConfig, by: string) => Promise<ReloadReport>;
  readonly events: EventFeed;
}

/** Makes a running server use its configuration file, certificates and keys as they are now. One reload runs at a time. */
export class Reloader {
  private readonly turns = new Turnstile(1);
  /** The configuration that is in effect, as far as it could be applied. */
  private current: ServerConfig;
  private isClosed = false;

  constructor(private readonly parts: ReloaderParts) {
    this.current = parts.configuration.config;
  }

  /** `by` says who asks. @throws CodedError; nothing has changed then */
  run(by: string): Promise<ReloadReport> {
    return this.turns.pass(() => this.reload(by));
  }

  /** Begins no further reload, and resolves when the one that is under way has ended. */
  async close(): Promise<void> {
    this.isClosed = true;
    await this.turns.pass(async () => {});
  }

  private async reload(by: string): Promise<ReloadReport> {
    if (this.isClosed)
      throw new CodedError('SHUTTING_DOWN', 'the server is stopping', 'it reads the file when it starts');
    const { events } = this.parts;
    try {
      const report = await this.apply(by);
      events.publish({ type: 'config-reloaded', ...report, by });
      return report;
    } catch (error) {
      const { message, hint = '' } = error as Error & { readonly hint?: string };
      events.publish({ type: 'config-refused', detail: hint === '' ? message : `${message} (${hint})`, by });
      throw error;
    }
  }

  private async apply(by: string): Promise<ReloadReport> {
    const { configuration, use } = this.parts;
    const next = await configuration.reread();
    this.checkMode(next);
    const exports = await use(next.config, by);
    const applied = [...changesOf(this.current, next.config), ...exports.applied];
    this.current = next.config;
    // Named at each reload until the restart.
    const others = changedSettings(configuration.file, next.file).filter((key) => !REPLACED.has(key));
    const notApplied = others.map((setting) => ({ setting, why: 'it needs a restart of the server' }));
    return { applied, notApplied: [...notApplied, ...exports.notApplied] };
  }

  /** Whether clients can use TLS is settled at the start. @throws CodedError CONFIG_INVALID */
  private checkMode({ config }: Reread): void {
    const { mode } = this.parts.configuration.config.tls;
    if (config.tls.mode === mode) return;
    const what = `tls changes from ${mode} to ${config.tls.mode}, which needs a restart`;
    throw new CodedError('CONFIG_INVALID', what, 'restart the server, or undo that change');
  }
}

/** Certificates and keys are read again even if their settings are the same. */
function changesOf(before: ServerConfig, now: ServerConfig): string[] {
  return [
    ...(isDeepStrictEqual(before.access, now.access) ? [] : ['access: changed']),
    ...(isDeepStrictEqual(before.thresholds, now.thresholds) ? [] : ['thresholds: changed']),
    ...(isDeepStrictEqual(before.tls.files, now.tls.files) ? [] : ['tls: other certificates or keys']),
    ...(before.logLevel === now.logLevel ? [] : [`log-level: ${now.logLevel}`]),
  ];
}

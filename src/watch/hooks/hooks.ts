import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isMissing } from '../../base/errno.js';
import { type Log, silentLog } from '../../base/log.js';
import { LogLimit } from '../../base/log-limit.js';
import { removeUnfinished, replaceFile } from '../../posix/replacement.js';
import type { EventFeed } from '../event-feed.js';
import type { EventHistory } from '../event-history.js';
import { exportsOf, type ServerEvent } from '../happening.js';
import type { Deliver } from './delivery.js';
import { type HookCounts, HookQueue } from './hook-queue.js';
import type { HookSpec } from './hook-spec.js';
import { readSecret, webhookPoster } from './post-webhook.js';
import { checkCommand, commandRunner } from './run-command.js';

/** How often what is finished is saved at most. */
const SAVE_MILLISECONDS = 1000;

export interface HooksOptions {
  readonly specs: readonly HookSpec[];
  readonly events: EventFeed;
  readonly history: EventHistory;
  /** Where to keep which events are finished; undefined: in memory. */
  readonly directory: string | undefined;
  readonly log: Log;
}

/** The id up to which all events are finished, by the name of the hook. */
type Progress = ReadonlyMap<string, number>;

/**
 * Tells others of events: each event once while the server runs, and at least once over restarts. Events that were not
 * finished when the server stopped are sent after the next start, as far as the history reaches.
 */
export class Hooks {
  private readonly queues = new Map<HookSpec, HookQueue>();
  private readonly limit = new LogLimit();
  private saveTimer: NodeJS.Timeout | undefined;
  private saving: Promise<void> = Promise.resolve();

  private constructor(private readonly options: HooksOptions) {}

  /** Sends what happens from now on, and what was left. @throws CodedError CONFIG_INVALID */
  static async open(options: HooksOptions): Promise<Hooks> {
    const hooks = new Hooks(options);
    const { specs, events, log } = options;
    const progress = await hooks.readProgress();
    const deliverers = await Promise.all(specs.map((spec) => delivererOf(spec, log)));
    // From here on nothing waits, so no event can come in between.
    for (const [i, spec] of specs.entries()) hooks.start(spec, deliverers[i]!, progress.get(spec.name));
    events.follow((event) => {
      for (const spec of specs) hooks.tell(spec, event);
      hooks.saveSoon();
    });
    return hooks;
  }

  counts(): (HookCounts & { readonly hook: string })[] {
    return [...this.queues].map(([{ name }, queue]) => ({ hook: name, ...queue.counts() }));
  }

  /** Gives deliveries under way two seconds, then ends them. */
  async close(): Promise<void> {
    await Promise.all([...this.queues.values()].map((queue) => queue.close()));
    clearTimeout(this.saveTimer);
    await this.saving;
    await this.save();
  }

  private start(spec: HookSpec, deliver: Deliver, known: number | undefined): void {
    const { history } = this.options;
    // A power failure may have taken events that were finished.
    const doneThrough = known === undefined ? history.lastId : Math.min(known, history.lastId);
    this.queues.set(spec, this.queueOf(spec, deliver, doneThrough));
    for (const event of history.after(doneThrough)) this.tell(spec, event);
  }

  private queueOf({ name, target, timeoutSeconds, tries }: HookSpec, deliver: Deliver, doneThrough: number): HookQueue {
    const { events, log } = this.options;
    const onFailure = (event: ServerEvent, tried: number, detail: string) => {
      const fields = { hook: name, about: event.id, tries: tried, detail };
      // Two hooks that fail would otherwise tell each other of it for ever.
      if (event.type === 'hook-failed') log.error(fields, 'a hook could not be told that another one failed');
      else events.publish({ type: 'hook-failed', ...fields });
    };
    const onFinished = () => this.saveSoon();
    return new HookQueue(
      { name, kind: target.kind, timeoutSeconds, tries, deliver, onFailure, onFinished },
      doneThrough,
      log,
    );
  }

  private tell(spec: HookSpec, event: ServerEvent): void {
    const queue = this.queues.get(spec)!;
    if (wants(spec, event)) queue.add(event);
    else queue.skip(event);
  }

  private async readProgress(): Promise<Progress> {
    const { directory, log } = this.options;
    if (directory === undefined) return new Map();
    const path = pathIn(directory);
    try {
      await removeUnfinished(path);
      return progressIn(JSON.parse(await readFile(path, 'utf8')));
    } catch (err) {
      if (!isMissing(err)) log.warn({ err, path }, 'it is not known which events were sent to hooks');
      return new Map();
    }
  }

  private saveSoon(): void {
    this.saveTimer ??= setTimeout(() => {
      this.saveTimer = undefined;
      this.saving = this.saving.then(() => this.save());
    }, SAVE_MILLISECONDS).unref();
  }

  private async save(): Promise<void> {
    const { directory, log } = this.options;
    if (directory === undefined || this.queues.size === 0) return;
    const progress = Object.fromEntries([...this.queues].map(([{ name }, queue]) => [name, queue.doneThrough]));
    try {
      await replaceFile(pathIn(directory), `${JSON.stringify(progress)}\n`);
    } catch (err) {
      const sinceLast = this.limit.admit('save');
      if (sinceLast === undefined) return;
      log.warn({ err, sinceLast }, 'it cannot be stored which events were sent to hooks');
    }
  }
}

/** Whether hooks can be used, as far as that can be told without an event. @throws CodedError CONFIG_INVALID */
export async function checkHooks(specs: readonly HookSpec[]): Promise<void> {
  for (const spec of specs) await delivererOf(spec, silentLog);
}

async function delivererOf({ name, target }: HookSpec, log: Log): Promise<Deliver> {
  if (target.kind === 'webhook') {
    const { url, secretFile } = target;
    return webhookPoster(url, secretFile === undefined ? undefined : await readSecret(secretFile, name));
  }
  await checkCommand(target.path, name);
  return commandRunner(target.path, name, log);
}

/** A hook is not told that it failed itself. */
function wants({ name, events, exports }: HookSpec, event: ServerEvent): boolean {
  if (event.type === 'hook-failed' && event.hook === name) return false;
  if (!events.some((pattern) => pattern.matches(event.type))) return false;
  if (exports.length === 0) return true;
  return exportsOf(event).some((about) => exports.some((pattern) => pattern.matches(about)));
}

function progressIn(found: unknown): Progress {
  if (typeof found !== 'object' || found === null) throw new Error('it is not an object');
  return new Map(Object.entries(found).filter(([, id]) => Number.isSafeInteger(id)));
}

function pathIn(directory: string): string {
  return join(directory, 'hooks.json');
}

import type { Log } from '../../base/log.js';
import { LogLimit } from '../../base/log-limit.js';
import type { ServerEvent } from '../happening.js';
import { type Deliver, DeliveryError } from './delivery.js';

/** The most events that wait for one hook. */
const MAX_QUEUED = 1000;
/** How many webhooks are sent at a time, and how many commands run. To start one holds up the event loop. */
const MOST_AT_A_TIME = { webhook: 4, command: 1 } as const;
/** The waits between tries; the last one is repeated. */
const RETRY_SECONDS = [1, 5, 30, 120, 600, 1800, 3600];
/** They differ by up to this share, so that many servers do not come back at once. */
const JITTER = 0.2;
/** How long deliveries that are under way may continue when the server stops. */
const STOP_PATIENCE_MILLISECONDS = 2000;

export interface QueuedHook {
  readonly name: string;
  readonly kind: keyof typeof MOST_AT_A_TIME;
  readonly timeoutSeconds: number;
  readonly tries: number;
  readonly deliver: Deliver;
  /** Called when the last try has failed. */
  readonly onFailure: (event: ServerEvent, tries: number, detail: string) => void;
  /** Called when an event is finished, one way or another. */
  readonly onFinished: () => void;
}

export interface HookCounts {
  readonly delivered: number;
  readonly failed: number;
  readonly dropped: number;
  readonly queued: number;
}

interface Job {
  readonly event: ServerEvent;
  tries: number;
  /** While it waits for its next try. */
  timer?: NodeJS.Timeout;
}

/** Sends events to one hook, some at a time and in order, and again after a while if that fails. */
export class HookQueue {
  /** Those not finished, by id, oldest first. */
  private readonly jobs = new Map<number, Job>();
  /** Those whose turn has come. */
  private ready: Job[] = [];
  private readonly running = new Map<Job, AbortController>();
  private readonly limit = new LogLimit();
  private newestId: number;
  private closing = false;
  private delivered = 0;
  private failed = 0;
  private dropped = 0;

  /** Events up to `doneThrough` have been finished before. */
  constructor(
    private readonly hook: QueuedHook,
    doneThrough: number,
    private readonly log: Log,
  ) {
    this.newestId = doneThrough;
  }

  /** All events up to this id are finished. */
  get doneThrough(): number {
    const [oldest] = this.jobs.keys();
    return oldest === undefined ? this.newestId : oldest - 1;
  }

  counts(): HookCounts {
    const { delivered, failed, dropped } = this;
    return { delivered, failed, dropped, queued: this.jobs.size };
  }

  /** Notes that the hook does not want this event. */
  skip({ id }: ServerEvent): void {
    this.newestId = id;
  }

  add(event: ServerEvent): void {
    this.newestId = event.id;
    const job = { event, tries: 0 };
    this.jobs.set(event.id, job);
    this.ready.push(job);
    if (this.jobs.size > MAX_QUEUED) this.dropOldest();
    this.advance();
  }

  /** Ends deliveries under way after some patience. What is not finished is sent after the next start. */
  async close(): Promise<void> {
    this.closing = true;
    for (const { timer } of this.jobs.values()) clearTimeout(timer);
    const late = setTimeout(() => {
      for (const controller of this.running.values()) controller.abort('the server stopped');
    }, STOP_PATIENCE_MILLISECONDS);
    while (this.running.size > 0) await new Promise((resolve) => setTimeout(resolve, 10));
    clearTimeout(late);
  }

  private advance(): void {
    while (!this.closing && this.running.size < MOST_AT_A_TIME[this.hook.kind] && this.ready.length > 0) {
      void this.attempt(this.ready.shift()!);
    }
  }

  private async attempt(job: Job): Promise<void> {
    const { hook } = this;
    const controller = new AbortController();
    this.running.set(job, controller);
    const timer = setTimeout(
      () => controller.abort(`it took more than ${hook.timeoutSeconds} s`),
      hook.timeoutSeconds * 1000,
    );
    job.tries++;
    try {
      await hook.deliver(job.event, controller.signal);
      this.delivered++;
      this.finish(job);
    } catch (error) {
      this.missed(job, error as Error);
    } finally {
      clearTimeout(timer);
      this.running.delete(job);
      this.advance();
    }
  }

  private missed(job: Job, error: Error): void {
    const { hook, log } = this;
    const { event, tries } = job;
    if (this.closing || !this.jobs.has(event.id)) return;
    const isLast = tries >= hook.tries || (error instanceof DeliveryError && error.isFinal);
    if (isLast) {
      this.failed++;
      this.finish(job);
      hook.onFailure(event, tries, error.message);
      return;
    }
    log.debug(
      { hook: hook.name, about: event.id, tries, detail: error.message },
      'a hook failed, and will be tried again',
    );
    const seconds = RETRY_SECONDS[Math.min(tries, RETRY_SECONDS.length) - 1]! * (1 + JITTER * (2 * Math.random() - 1));
    job.timer = setTimeout(() => {
      this.ready.push(job);
      this.advance();
    }, seconds * 1000);
    job.timer.unref();
  }

  private finish({ event }: Job): void {
    this.jobs.delete(event.id);
    this.hook.onFinished();
  }

  /** One that is under way stays, because it may succeed. */
  private dropOldest(): void {
    const oldest = [...this.jobs.values()].find((job) => !this.running.has(job));
    if (!oldest) return;
    clearTimeout(oldest.timer);
    this.ready = this.ready.filter((job) => job !== oldest);
    this.dropped++;
    this.finish(oldest);
    const sinceLast = this.limit.admit('dropped');
    if (sinceLast === undefined) return;
    this.log.warn({ hook: this.hook.name, sinceLast }, 'an event was not sent to a hook, because too many wait for it');
  }
}

import { Random } from '../support/random.js';
import { FuzzFailure } from './fuzz-failure.js';
import { seedOf, within } from './iteration.js';
import { MemoryWatch } from './memory-watch.js';
import type { FuzzOptions } from './options.js';
import { Probe } from './probe.js';
import { type Footprint, type Subject, THREADS } from './subject.js';
import type { Target } from './target.js';
import { Watchdog } from './watchdog.js';

export interface FuzzReport {
  readonly messages: Readonly<Record<string, number>>;
  readonly seconds: number;
  readonly before: Footprint;
  readonly after: Footprint;
  readonly ownRssMib: number;
  readonly slowestProbeMilliseconds: number;
  readonly probes: number;
}

/** No iteration takes that long on any machine, unless a connection is stuck. */
const ITERATION_SECONDS = 60;
const WATCHDOG_SECONDS = 120;
const SAMPLE_SECONDS = 10;
/** The time for each target in a round. Targets in this process get less, because the server is what is tested most. */
const SLICE_MILLISECONDS = 400;
const LOCAL_SLICE_MILLISECONDS = 80;
/** By then buffers and caches have reached their size. */
const WARM_UP_SHARE = 0.25;
/** A thread has an event loop and a pipe, and starts with its first client. */
const DESCRIPTORS_OF_THREAD = 8;
const MAX_MORE_DESCRIPTORS = THREADS * DESCRIPTORS_OF_THREAD;

/** Runs the targets in turn, and watches the server meanwhile. */
export class FuzzRun {
  private readonly counts = new Map<string, number>();
  private readonly iterations = new Map<string, number>();
  private readonly startedAt = performance.now();
  private readonly watchdog: Watchdog;
  private readonly probe: Probe;
  private readonly memory = new MemoryWatch();
  private warm: Footprint | undefined;
  private sampledAt = 0;

  constructor(
    private readonly subject: Subject,
    private readonly targets: readonly Target[],
    private readonly options: FuzzOptions,
    private readonly progress: (line: string) => void,
  ) {
    const names = targets.map(({ name }) => name);
    this.watchdog = new Watchdog(names, options.seed, WATCHDOG_SECONDS);
    this.probe = new Probe(subject);
  }

  /** @throws FuzzFailure */
  async run(): Promise<FuzzReport> {
    const before = await this.subject.footprint();
    try {
      if (this.options.iterations) await this.replay(this.options.iterations);
      else while (!this.isOver()) await this.round();
    } finally {
      await this.probe.stop();
      await this.watchdog.stop();
    }
    const after = await this.settle(before);
    return {
      messages: Object.fromEntries(this.counts),
      seconds: this.seconds,
      before: this.warm ?? before,
      after,
      ownRssMib: Math.round(process.memoryUsage.rss() / 2 ** 20),
      slowestProbeMilliseconds: Math.round(this.probe.slowestMilliseconds),
      probes: this.probe.probes,
    };
  }

  private get seconds(): number {
    return (performance.now() - this.startedAt) / 1000;
  }

  private get messages(): number {
    return [...this.counts.values()].reduce((sum, count) => sum + count, 0);
  }

  private get doneShare(): number {
    return Math.max(this.seconds / this.options.seconds, this.messages / this.options.messages);
  }

  private isOver(): boolean {
    return this.doneShare >= 1;
  }

  private async replay({ first, last }: { readonly first: number; readonly last: number }): Promise<void> {
    for (let iteration = first; iteration <= last; iteration++) {
      for (const target of this.targets) await this.iterate(target, iteration);
    }
  }

  /** Targets that wait for the server run at the same time. */
  private async round(): Promise<void> {
    await Promise.all(this.targets.map((target) => this.slice(target)));
    if (this.seconds - this.sampledAt < SAMPLE_SECONDS) return;
    this.sampledAt = this.seconds;
    const now = await this.subject.footprint();
    this.memory.add(this.seconds, now.rssMib);
    if (!this.warm && this.doneShare >= WARM_UP_SHARE) this.warm = now;
    this.progress(`${Math.round(this.seconds)} s: ${this.messages} messages, ${JSON.stringify(now)}`);
  }

  private async slice(target: Target): Promise<void> {
    const until = performance.now() + (target.isLocal ? LOCAL_SLICE_MILLISECONDS : SLICE_MILLISECONDS);
    while (performance.now() < until && !this.isOver()) {
      const iteration = this.iterations.get(target.name) ?? 0;
      this.iterations.set(target.name, iteration + 1);
      await this.iterate(target, iteration);
    }
  }

  private async iterate(target: Target, iteration: number): Promise<void> {
    this.watchdog.note(target.name, iteration);
    const plan = target.plan(new Random(seedOf(this.options.seed, target.name, iteration)));
    try {
      const count = await within(ITERATION_SECONDS, target.run(plan));
      this.counts.set(target.name, (this.counts.get(target.name) ?? 0) + count);
      if (this.probe.failure) throw this.probe.failure;
      if (this.subject.trouble !== undefined) throw new Error(this.subject.trouble);
    } catch (error) {
      throw new FuzzFailure(target.name, iteration, error as Error);
    }
  }

  /** Checks that nothing is left behind. @throws FuzzFailure */
  private async settle(before: Footprint): Promise<Footprint> {
    const last = Math.max(0, ...this.iterations.values());
    try {
      for (const target of this.targets) await target.settle?.();
      await this.subject.untilIdle();
      const after = await this.subject.footprint();
      if (after.descriptors > before.descriptors + MAX_MORE_DESCRIPTORS) {
        throw new Error(`descriptors leak: ${before.descriptors} before, ${after.descriptors} after`);
      }
      const leak = this.memory.findLeak();
      if (leak !== undefined) throw new Error(leak);
      return after;
    } catch (error) {
      throw new FuzzFailure(this.targets.map(({ name }) => name).join('+'), last, error as Error);
    }
  }
}

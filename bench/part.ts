import type { BenchOptions } from './options.js';
import type { Goals } from './report/goals.js';
import type { BenchRun } from './throughput.js';

/** Empty folders for one part: in memory, and on a disk. */
export interface Places {
  readonly tmpfs: string;
  readonly disk: string;
}

/** Writes the tables of a part as Markdown, and has `goals` count their lines. */
export type Section = (goals: Goals) => string;

/** What one section of the report shows. */
export interface Part {
  /** The estimated duration, for the plan. */
  seconds(options: BenchOptions): number;
  measure(run: BenchRun, places: Places): Promise<Section>;
}

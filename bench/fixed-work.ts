import type { FioJob, FioResult } from './fio.js';
import { processorMicroseconds } from './processor-time.js';

/** How much several connections did together. */
export interface WorkDone {
  readonly iops: number;
  readonly bytesPerSecond: number;
  /** Processor time of the server for each request. */
  readonly processorMicroseconds: number;
}

/** What one run took. Times are in seconds. */
export interface WorkRun {
  readonly seconds: number;
  readonly processorSeconds: number;
  readonly requests: number;
}

/** Requests a second of all jobs together, roughly, and how many seconds of them to measure. */
export interface WorkSize {
  readonly rate: number;
  readonly seconds: number;
}

/**
 * What several connections do together, by the clock. fio adds up what each of its jobs reports for the time in which it
 * ran itself. The jobs do not run at the same time from end to end, so the sum can be a multiple of what the server did.
 * Here each job has the same number of requests. Starting and ending takes time too, so that of a run with hardly any
 * requests is subtracted.
 *
 * @param run runs fio to its end
 * @param pids the processes of the server
 * @param attempt tries a run again as long as that makes sense
 */
export async function measureWork(
  jobs: readonly FioJob[],
  { rate, seconds }: WorkSize,
  run: (jobs: readonly FioJob[]) => Promise<FioResult>,
  pids: readonly number[],
  attempt: (work: () => Promise<WorkRun>) => Promise<WorkRun>,
): Promise<WorkDone> {
  const timed = (requestsEach: number) => async (): Promise<WorkRun> => {
    const used = await processorMicroseconds(pids);
    const began = performance.now();
    const { requests } = await run(jobs.map((job) => ({ ...job, ioBytes: requestsEach * job.blockBytes })));
    const ended = performance.now();
    const processorSeconds = ((await processorMicroseconds(pids)) - used) / 1e6;
    return { seconds: (ended - began) / 1000, processorSeconds, requests };
  };
  const few = Math.max(...jobs.map(({ depth }) => depth));
  const short = await attempt(timed(few));
  const long = await attempt(timed(few + Math.ceil((rate * seconds) / jobs.length)));
  return workBetween(short, long, jobs[0]!.blockBytes);
}

/** What the longer run did beyond the short one. @throws if it took no longer, so that nothing can be said */
export function workBetween(short: WorkRun, long: WorkRun, blockBytes: number): WorkDone {
  const seconds = long.seconds - short.seconds;
  if (seconds <= 0) throw new Error(`fio took ${long.seconds} s, and ${short.seconds} s with hardly any requests`);
  const requests = long.requests - short.requests;
  const iops = requests / seconds;
  return {
    iops,
    bytesPerSecond: iops * blockBytes,
    processorMicroseconds: ((long.processorSeconds - short.processorSeconds) / requests) * 1e6,
  };
}

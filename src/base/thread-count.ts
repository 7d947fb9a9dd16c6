/** What libuv has when nobody says otherwise, and the most that it accepts. */
const DEFAULT_THREADS = 4;
const MAX_THREADS = 1024;

/**
 * Threads that a server has in the pool, where calls wait for disks. Waiting costs no processor, and a thread a few dozen
 * kilobytes, so there are enough for several disks to hang at the same time.
 */
export const SERVER_THREADS = 64;

/** Threads in the pool of this process, as libuv reads the variable when the pool starts. */
export function threadCount({ UV_THREADPOOL_SIZE: setting }: NodeJS.ProcessEnv = process.env): number {
  if (setting === undefined) return DEFAULT_THREADS;
  return Math.min(Math.max(Number.parseInt(setting, 10) || 0, 1), MAX_THREADS);
}

/** libuv's default and maximum. */
const DEFAULT_THREADS = 4;
const MAX_THREADS = 1024;

/**
 * Size of the server's thread pool, in which calls wait for disks. A waiting thread uses no processor time and only a
 * few dozen kilobytes, so there are enough threads for several disks to hang at the same time.
 */
export const SERVER_THREADS = 64;

/** Size of this process's thread pool. libuv reads the variable the same way when the pool starts. */
export function threadCount({ UV_THREADPOOL_SIZE: setting }: NodeJS.ProcessEnv = process.env): number {
  if (setting === undefined) return DEFAULT_THREADS;
  return Math.min(Math.max(Number.parseInt(setting, 10) || 0, 1), MAX_THREADS);
}

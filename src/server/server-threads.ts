import { realpathSync } from 'node:fs';
import { SERVER_THREADS } from '../base/thread-count.js';
import { loadPosix } from '../posix/posix.js';

const STANDARD_STREAMS = 3;

/**
 * Starts the program again in this process (execve), with the threads that a server needs, unless somebody has chosen their
 * number. Node starts the pool while it loads the program's first file, so it is too late to set the variable from within. Returns
 * where the process cannot be replaced: then there are four. `program` is the file that Node was started with.
 */
export function restartWithThreads(program: string): void {
  const { env, argv, execArgv, execPath, channel } = process;
  if (env.UV_THREADPOOL_SIZE !== undefined || channel !== undefined || !isProgram(argv[1], program)) return;
  loadPosix()?.replaceProcessNow({
    path: execPath,
    args: [...execArgv, ...argv.slice(1)],
    env: { ...env, UV_THREADPOOL_SIZE: String(SERVER_THREADS) },
    keptFds: Array.from({ length: STANDARD_STREAMS + inheritedSockets() }, (_, fd) => fd),
  });
}

/** False where another program, such as a test, has loaded this one. */
function isProgram(path: string | undefined, program: string): boolean {
  try {
    return path !== undefined && realpathSync(path) === program;
  } catch {
    return false;
  }
}

function inheritedSockets(): number {
  const { LISTEN_PID, LISTEN_FDS = '' } = process.env;
  return LISTEN_PID === String(process.pid) && /^\d{1,4}$/.test(LISTEN_FDS) ? Number(LISTEN_FDS) : 0;
}

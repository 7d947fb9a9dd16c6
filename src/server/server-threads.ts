import { realpathSync } from 'node:fs';
import { SERVER_THREADS } from '../base/thread-count.js';
import { nodePosix } from '../posix/node-posix.js';
import { loadPosix } from '../posix/posix.js';

const STANDARD_STREAMS = 3;

/**
 * Restarts the program in this process (execve) with as many threads as a server needs, unless UV_THREADPOOL_SIZE is set.
 * Setting the variable from within would be too late, because Node starts the pool while it loads the program's first file.
 * Returns if the process cannot be replaced; the pool then has four threads. `program` is the file that Node was started
 * with.
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

/** False if another program, such as a test, has loaded this one. */
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

/** Ends this process at once, even if one of its threads waits for a disk that hangs. `process.exit` would wait for it. */
export function endProcess(code: number): void {
  (loadPosix() ?? nodePosix).exitNow(code);
}

import { nodePosix } from '../posix/node-posix.js';
import { loadPosix } from '../posix/posix.js';

/** Ends this process at once, also while a thread of it waits for a disk that hangs: `process.exit` waits for that. */
export function endProcess(code: number): void {
  (loadPosix() ?? nodePosix).exitNow(code);
}

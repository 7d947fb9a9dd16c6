import { nodePosix } from '../posix/node-posix.js';
import { loadPosix } from '../posix/posix.js';

/** Ends this process at once, even if one of its threads waits for a disk that hangs. `process.exit` would wait for it. */
export function endProcess(code: number): void {
  (loadPosix() ?? nodePosix).exitNow(code);
}

import type { Koffi, Native } from './native.js';
import type { Posix } from './posix-calls.js';

const F_SETFD = 2;
const KEPT_OPEN = 0;

interface Calls {
  readonly execve: Native;
  readonly fcntl: Native;
}

/** Node sets close-on-exec on every descriptor that it inherits, so this clears it on those to keep. */
export function bindExec(koffi: Koffi, { execve, fcntl }: Calls): Posix['replaceProcessNow'] {
  return ({ path, args, env, keptFds }) => {
    for (const fd of keptFds) fcntl(fd, F_SETFD, 'int', KEPT_OPEN);
    const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
    execve(path, [path, ...args, null], [...variables, null]);
    return -koffi.errno();
  };
}

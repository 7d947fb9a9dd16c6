import { CodedError } from '../base/coded-error.js';

/** Inherited sockets follow the standard streams, by the convention of systemd, libnbd and nbdkit. */
const FIRST_FD = 3;

/**
 * Returns the file descriptors of listening sockets that the parent process passed on (socket activation). Removes the
 * variables from `env`, because they are not meant for programs that this one starts.
 * @throws CodedError CONFIG_INVALID when the variables are invalid
 */
export function takeListenFds(env: NodeJS.ProcessEnv, pid: number): number[] {
  const { LISTEN_PID: listenPid, LISTEN_FDS: listenFds } = env;
  for (const name of ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES']) delete env[name];
  if (listenFds === undefined || listenPid !== String(pid)) return [];
  const count = Number(listenFds);
  if (!/^\d+$/.test(listenFds) || count === 0) {
    throw new CodedError(
      'CONFIG_INVALID',
      `LISTEN_FDS is "${listenFds}", which is not a number of sockets`,
      'start tidemark from a systemd socket unit, or without that variable',
    );
  }
  return Array.from({ length: count }, (_, i) => FIRST_FD + i);
}

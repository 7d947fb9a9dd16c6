import { CodedError } from '../base/coded-error.js';

/** By the convention of systemd, which libnbd and nbdkit follow too, inherited sockets begin behind the standard streams. */
const FIRST_FD = 3;

/**
 * The listening sockets that whoever started this process has passed on (socket activation): file descriptors, none in
 * most cases. Their variables are taken out of `env`, for they are not meant for programs that this one starts.
 * @throws CodedError CONFIG_INVALID when the variables make no sense
 */
export function takeListenFds(env: NodeJS.ProcessEnv, pid: number): number[] {
  const { LISTEN_PID: listenPid, LISTEN_FDS: listenFds } = env;
  for (const name of ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES']) delete env[name];
  if (listenFds === undefined || listenPid !== String(pid)) return [];
  const count = Number(listenFds);
  if (!/^\d+$/.test(listenFds) || count === 0) {
    throw new CodedError(
      'CONFIG_INVALID',
      `LISTEN_FDS is "${listenFds}", no number of sockets`,
      'start tidemark from a systemd socket unit, or without that variable',
    );
  }
  return Array.from({ length: count }, (_, i) => FIRST_FD + i);
}

import { homedir } from 'node:os';
import { join } from 'node:path';

/** The default state directory: the system's for root, the user's own for anyone else. */
export function defaultStateDirectory(env: NodeJS.ProcessEnv = process.env, uid = process.getuid?.()): string {
  if (uid === 0) return '/var/lib/tidemark';
  return join(env.XDG_STATE_HOME || join(homedir(), '.local/state'), 'tidemark');
}

/** The default control socket of a server with that state directory. */
export function controlSocketIn(stateDirectory: string): string {
  return join(stateDirectory, 'control.sock');
}

/** The default scratch directory of such a server, for old data that views still need. */
export function scratchDirectoryIn(stateDirectory: string): string {
  return join(stateDirectory, 'scratch');
}

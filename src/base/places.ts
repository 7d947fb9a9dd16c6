import { homedir } from 'node:os';
import { join } from 'node:path';

/** Where a server keeps its state unless it is told: of the system for root, else of the user. */
export function defaultStateDirectory(env: NodeJS.ProcessEnv = process.env, uid = process.getuid?.()): string {
  if (uid === 0) return '/var/lib/tidemark';
  return join(env.XDG_STATE_HOME || join(homedir(), '.local/state'), 'tidemark');
}

/** Where a server with that state directory takes commands unless it is told. */
export function controlSocketIn(stateDirectory: string): string {
  return join(stateDirectory, 'control.sock');
}

/** Where such a server keeps the old data that views of backups still need, unless it is told. */
export function scratchDirectoryIn(stateDirectory: string): string {
  return join(stateDirectory, 'scratch');
}

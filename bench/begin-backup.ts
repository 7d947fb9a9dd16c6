import { ControlClient } from '../src/cli/control-client.js';
import { unixPlace } from '../src/cli/control-place.js';
import { controlIn } from './servers.js';

/** What the control API says about a backup that has begun. */
export interface Begun {
  readonly id: string;
  readonly heldWrites: { readonly p99Milliseconds: number; readonly maxMilliseconds: number };
  readonly exports: readonly { readonly uri: string; readonly context: string }[];
}

/** Begins a backup of these exports on the tidemark that was started with this folder. */
export function beginBackup(folder: string, exports: readonly string[]): Promise<Begun> {
  return new ControlClient(unixPlace(controlIn(folder))).post<Begun>(['backups'], { exports, bitmap: 'nightly' });
}

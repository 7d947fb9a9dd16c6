import { statfsSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { Cleanup } from '../base/cleanup.js';
import { CodedError } from '../base/coded-error.js';
import { folderHint } from '../base/folder-hint.js';
import { freeBytes } from '../base/free-space.js';
import type { Log } from '../base/log.js';
import { formatSize } from '../base/units.js';
import { LEAST_FREE_BYTES } from '../bitmap/store/lmdb-store.js';
import { ServerStore } from '../bitmap/store/open-store.js';
import type { Posix } from '../posix/posix-calls.js';

const LOCK_BYTE = 0;

/** The directory in which a server keeps its bitmaps. Only one server at a time can use it. */
export class StateDirectory {
  private constructor(
    readonly store: ServerStore,
    private readonly cleanup: Cleanup,
  ) {}

  /** Opens an existing directory. @throws CodedError STORE_UNUSABLE */
  static async open(path: string, posix: Posix | undefined, log: Log): Promise<StateDirectory> {
    const cleanup = await StateDirectory.lock(path, posix, log);
    try {
      needRoom(path);
      const store = await ServerStore.open(storeIn(path), log);
      cleanup.defer(() => store.close());
      return new StateDirectory(store, cleanup);
    } catch (error) {
      await cleanup.run();
      throw error;
    }
  }

  /** Keeps servers out of an existing directory until the cleanup is run. @throws CodedError STORE_UNUSABLE */
  static async lock(path: string, posix: Posix | undefined, log: Log): Promise<Cleanup> {
    const cleanup = new Cleanup();
    try {
      await lock(path, posix, log, cleanup);
      return cleanup;
    } catch (error) {
      await cleanup.run();
      throw error;
    }
  }

  close(): Promise<void> {
    return this.cleanup.run();
  }
}

/** The path of the store in a state directory. */
export function storeIn(path: string): string {
  return join(path, 'store');
}

function unusable(path: string): (error: NodeJS.ErrnoException) => never {
  return (cause) => {
    throw new CodedError(
      'STORE_UNUSABLE',
      `the state directory ${path} cannot be used: ${cause.message}`,
      folderHint(cause, '--state'),
      { cause },
    );
  };
}

/** Checks for free space, because the store maps its files into memory: on a full disk, a write there would kill the process. */
function needRoom(path: string): void {
  const free = freeBytes(statfsSync(path));
  if (free >= LEAST_FREE_BYTES) return;
  throw new CodedError(
    'STORE_UNUSABLE',
    `not enough space for the state directory ${path}: ${formatSize(LEAST_FREE_BYTES)} needed, ${formatSize(free)} free`,
    'free some space, or choose another directory with --state DIR',
  );
}

/** Takes the lock first and looks for other holders afterwards, so that two servers that start together cannot both continue. */
async function lock(path: string, posix: Posix | undefined, log: Log, cleanup: Cleanup): Promise<void> {
  const file = await open(join(path, 'lock'), 'a+', 0o600).catch(unusable(path));
  cleanup.defer(() => file.close());
  const locked = posix ? posix.lockByteNow(file.fd, LOCK_BYTE) : -1;
  if (!posix || locked < 0) {
    log.warn({ state: path }, 'the state directory cannot be locked: make sure that no second server uses it');
  } else if (posix.byteLockedNow(file.fd, LOCK_BYTE) > 0) {
    throw new CodedError(
      'STORE_UNUSABLE',
      `another tidemark uses the state directory ${path}`,
      'stop it, or choose another directory with --state DIR',
    );
  }
}

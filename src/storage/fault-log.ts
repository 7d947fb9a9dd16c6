import { constants } from 'node:os';
import { EDQUOT, EFBIG, EIO, ENOSPC, ENXIO, type Errno, errnoName } from '../base/errno.js';
import type { Log } from '../base/log.js';

const REPEAT_AFTER_MS = 60_000;

const { ENODEV, ESTALE } = constants.errno;

const causes = new Map<Errno, string>([
  [ENOSPC, 'no space is left where the image is'],
  [EDQUOT, 'the disk quota where the image is has been used up'],
  [EFBIG, 'the image would be larger than its file system or the limit on file sizes (ulimit -f) allows'],
  [EIO, 'the storage under the image reports an I/O error'],
  [ENXIO, 'the device under the image has gone'],
  [ENODEV, 'the device under the image has gone'],
  [ESTALE, 'the file server no longer knows the image'],
]);

export type Operation = 'read' | 'write' | 'zero' | 'trim' | 'flush';

interface Fault {
  loggedAtMs: number;
  unlogged: number;
}

/**
 * Tells the operator why requests fail. A dying disk fails thousands a second, so each kind of failure is logged when
 * it first happens, and after that once a minute with the number of those in between.
 */
export class FaultLog {
  readonly #faults = new Map<string, Fault>();

  constructor(
    private readonly log: Log,
    private readonly path: string,
    private readonly nowMs: () => number = Date.now,
  ) {}

  /** Logs that `operation` failed with `errno`, which it hands back. `cause` replaces the usual words for it. */
  report(operation: Operation, errno: Errno, cause = causes.get(errno) ?? 'the image cannot be used'): Errno {
    const kind = `${operation} ${errno} ${cause}`;
    const nowMs = this.nowMs();
    const fault = this.#faults.get(kind);
    if (fault && nowMs < fault.loggedAtMs + REPEAT_AFTER_MS) {
      fault.unlogged++;
      return errno;
    }
    this.#faults.set(kind, { loggedAtMs: nowMs, unlogged: 0 });
    const facts = { image: this.path, operation, errno: errnoName(errno), sinceLast: fault?.unlogged ?? 0 };
    this.log.error(facts, `${operation} failed: ${cause}`);
    return errno;
  }
}

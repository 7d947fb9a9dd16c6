import { constants } from 'node:os';
import { EDQUOT, EFBIG, EIO, ENOSPC, ENXIO, type Errno, errnoName } from '../../base/errno.js';
import type { Log } from '../../base/log.js';
import { LogLimit } from '../../base/log-limit.js';

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

/** Tells the operator why requests fail, with the number of those that passed unlogged. */
export class FaultLog {
  constructor(
    private readonly log: Log,
    private readonly path: string,
    private readonly limit = new LogLimit(),
  ) {}

  /** Logs that `operation` failed with `errno`, which it hands back. `cause` replaces the usual words for it. */
  report(operation: Operation, errno: Errno, cause = causes.get(errno) ?? 'the image cannot be used'): Errno {
    const sinceLast = this.limit.admit(`${operation} ${errno} ${cause}`);
    if (sinceLast !== undefined) {
      const facts = { image: this.path, operation, errno: errnoName(errno), sinceLast };
      this.log.error(facts, `${operation} failed: ${cause}`);
    }
    return errno;
  }
}

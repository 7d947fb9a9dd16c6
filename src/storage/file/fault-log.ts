import { constants } from 'node:os';
import { EDQUOT, EFBIG, EIO, ENOSPC, ENXIO, type Errno, errnoName } from '../../base/errno.js';
import type { Log } from '../../base/log.js';
import { LogLimit } from '../../base/log-limit.js';

const { ENODEV, ESTALE } = constants.errno;

const causes = new Map<Errno, string>([
  [ENOSPC, 'no space is left on the storage of the image'],
  [EDQUOT, 'the disk quota on the storage of the image is used up'],
  [EFBIG, 'the image would exceed the maximum file size of its file system or of the process (ulimit -f)'],
  [EIO, 'the storage under the image reports an I/O error'],
  [ENXIO, 'the device under the image has gone'],
  [ENODEV, 'the device under the image has gone'],
  [ESTALE, 'the file server no longer knows the image'],
]);

export type Operation = 'read' | 'write' | 'zero' | 'trim' | 'flush';

/** Logs why requests fail, and how many failures were not logged in between. */
export class FaultLog {
  constructor(
    private readonly log: Log,
    private readonly path: string,
    private readonly limit = new LogLimit(),
  ) {}

  /** Logs that `operation` failed, and returns `errno`. `cause` replaces the default description of the errno. */
  report(operation: Operation, errno: Errno, cause = causes.get(errno) ?? 'the image cannot be used'): Errno {
    const sinceLast = this.limit.admit(`${operation} ${errno} ${cause}`);
    if (sinceLast !== undefined) {
      const facts = { image: this.path, operation, errno: errnoName(errno), sinceLast };
      this.log.error(facts, `${operation} failed: ${cause}`);
    }
    return errno;
  }
}

import { type Errno, errnoName } from '../../base/errno.js';
import type { Log } from '../../base/log.js';
import { LogLimit } from '../../base/log-limit.js';
import type { BitmapSet } from '../bitmap-set.js';

/** What to do with a write that cannot be recorded durably. */
export type OnBitmapError = 'refuse' | 'continue';

export interface BitmapFailuresOptions {
  readonly exportName: string;
  readonly bitmaps: BitmapSet;
  readonly onBitmapError: OnBitmapError;
  readonly log: Log;
}

/** What becomes of the bitmaps of a disk when they miss writes or cannot be stored. Says so in the log. */
export class BitmapFailures {
  private readonly logLimit = new LogLimit();

  constructor(private readonly options: BitmapFailuresOptions) {}

  /** The bitmaps miss writes, so they are all inconsistent. */
  missedWrites(reason: string): void {
    const { bitmaps, exportName, log } = this.options;
    const trusted = bitmaps.list().filter(({ inconsistent }) => inconsistent === undefined);
    bitmaps.distrust(reason);
    if (trusted.length === 0) return;
    log.warn({ export: exportName }, `${reason}: its bitmaps are inconsistent, and the next backup is a full one`);
  }

  /** A write cannot be recorded. Returns whether it may go on, which makes the persistent bitmaps inconsistent. */
  lostMarks(errno: Errno): boolean {
    const { exportName, bitmaps, onBitmapError, log } = this.options;
    const cause = errnoName(errno);
    const sinceLast = this.logLimit.admit(cause);
    if (sinceLast !== undefined) log.error({ export: exportName, cause, sinceLast }, lostMarksTexts[onBitmapError]);
    if (onBitmapError === 'refuse') return false;
    const reason = `a write could not be recorded in the store: ${cause}`;
    for (const bitmap of bitmaps.list()) if (bitmap.persistent) bitmap.markInconsistent(reason);
    return true;
  }

  bug(err: unknown): void {
    const { exportName, log } = this.options;
    const sinceLast = this.logLimit.admit(String(err));
    if (sinceLast === undefined) return;
    log.error({ err, export: exportName, sinceLast }, 'bitmaps could not be stored because of a bug; please report it');
  }
}

const lostMarksTexts: Readonly<Record<OnBitmapError, string>> = {
  refuse: 'a write was refused: it could not be recorded in the state directory. Free space there or repair its disk',
  continue:
    'a write could not be recorded in the state directory and went on; the persistent bitmaps are inconsistent now. ' +
    'Repair the directory, remove the bitmaps, add them again, and take a full backup',
};

import type { BitmapSet } from '../../src/bitmap/bitmap-set.js';
import type { PersistentBitmaps } from '../../src/bitmap/store/persistent-bitmaps.js';
import type { Disk } from '../../src/export/disk.js';
import type { Export } from '../../src/export/export.js';
import type { CopyBeforeWrite } from '../../src/snapshot/copy-before-write.js';
import type { WriteGate } from '../../src/storage/device/write-gate.js';

/** The private parts of an export, for tests that play a crash, a bug or the clock. */
interface Inside {
  readonly disk: Disk;
  readonly copyBeforeWrite: CopyBeforeWrite;
  readonly gate: WriteGate;
  readonly bitmaps: BitmapSet;
  readonly persistence: PersistentBitmaps | undefined;
}

export function insideOf(served: Export): Inside {
  return served as unknown as Inside;
}

/** As after a kill: nothing more is stored. */
export function kill(served: Export): Promise<void> {
  return insideOf(served).disk.close();
}

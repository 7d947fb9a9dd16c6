import { assert } from '../base/assert.js';
import type { BitmapSet } from '../bitmap/bitmap-set.js';
import type { PersistentBitmaps } from '../bitmap/store/persistent-bitmaps.js';
import type { CopyBeforeWrite } from '../snapshot/copy-before-write.js';
import { Snapshot } from '../snapshot/snapshot.js';
import type { SnapshotOptions } from '../snapshot/snapshot-options.js';
import type { BlockDevice } from '../storage/device/block-device.js';
import type { WriteGate } from '../storage/device/write-gate.js';

export interface QuietParts {
  readonly gate: WriteGate;
  readonly copyBeforeWrite: CopyBeforeWrite;
  readonly disk: BlockDevice;
  readonly bitmaps: BitmapSet;
  readonly persistence: PersistentBitmaps | undefined;
}

/** The inside of an export whose writes are held back. Only this can change bitmaps and attach snapshots. */
export class QuietExport {
  /** Resolves when no write is in flight any more. */
  readonly drained: Promise<void>;
  private isQuiet = true;

  constructor(private readonly parts: QuietParts) {
    this.drained = parts.gate.quiesce();
  }

  get bitmaps(): BitmapSet {
    this.assertQuiet();
    return this.parts.bitmaps;
  }

  /** Whether bitmaps can be kept in the store. */
  get persistent(): boolean {
    return this.parts.persistence !== undefined;
  }

  /** Keeps the bitmaps in the store; undefined when they are only in memory. */
  get persistence(): PersistentBitmaps | undefined {
    return this.parts.persistence;
  }

  /** Attaches a snapshot of the disk as it is now. Returns it with the function that detaches and so ends it. */
  snapshot(options: Omit<SnapshotOptions, 'source'>): { snapshot: Snapshot; detach: () => void } {
    this.assertQuiet();
    const snapshot = new Snapshot({ ...options, source: this.parts.disk });
    return { snapshot, detach: this.parts.copyBeforeWrite.attach(snapshot) };
  }

  /** Lets the writes continue. Returns how long each was held back, in milliseconds. */
  resume(): number[] {
    this.isQuiet = false;
    return this.parts.gate.resume();
  }

  private assertQuiet(): void {
    assert(this.isQuiet, 'an export is changed only while its writes are held back');
  }
}

import { type Errno, OK, WOULD_BLOCK } from '../base/errno.js';
import type { ZeroOptions } from '../storage/device/block-device.js';
import { FilterDevice } from '../storage/device/filter-device.js';
import type { PagePipe } from '../storage/device/page-pipe.js';
import type { Snapshot } from './snapshot.js';

/** Passes a change on only after every attached snapshot has saved the old data of the range. */
export class CopyBeforeWrite extends FilterDevice {
  /** Replaced, never modified, because a snapshot may be detached while a change iterates over the list. */
  private snapshots: readonly Snapshot[] = [];

  /** True while a snapshot needs the disk to keep its size. */
  get hasSnapshots(): boolean {
    return this.snapshots.length > 0;
  }

  /**
   * Whether a write to a part of a piece saves all of it. Not where a snapshot ends in the middle of a piece and the disk
   * has grown, because what lies behind the end of a snapshot is not saved for it.
   */
  savesWhole(pieceBytes: number): boolean {
    return this.snapshots.every(
      ({ device }) => device.sizeBytes === this.sizeBytes || device.sizeBytes % pieceBytes === 0,
    );
  }

  /**
   * Attaches a snapshot; no change may be in flight below. Returns a function that detaches it, at any time. Detaching
   * ends the snapshot, because later writes would show in its view.
   */
  attach(snapshot: Snapshot): () => void {
    this.snapshots = [...this.snapshots, snapshot];
    return () => {
      this.snapshots = this.snapshots.filter((other) => other !== snapshot);
      snapshot.end();
    };
  }

  override lendNow(pipe: PagePipe, length: number, offset: number): typeof OK | typeof WOULD_BLOCK {
    return this.inner.lendNow(pipe, length, offset);
  }

  override writeNow(source: Buffer, start: number, length: number, offset: number): Errno | typeof WOULD_BLOCK {
    if (this.snapshots.length > 0) {
      const errno = this.saveNow(offset, length);
      if (errno !== OK) return errno;
    }
    return this.inner.writeNow(source, start, length, offset);
  }

  override write(source: Buffer, start: number, length: number, offset: number): Promise<Errno> {
    if (this.snapshots.length === 0) return this.inner.write(source, start, length, offset);
    return this.saveThen(offset, length, () => this.inner.write(source, start, length, offset));
  }

  override zero(offset: number, length: number, options: ZeroOptions): Promise<Errno> {
    return this.saveThen(offset, length, () => this.inner.zero(offset, length, options));
  }

  override trim(offset: number, length: number): Promise<Errno> {
    return this.saveThen(offset, length, () => this.inner.trim(offset, length));
  }

  private saveNow(offset: number, length: number): Errno | typeof WOULD_BLOCK {
    const { snapshots } = this;
    for (let i = 0; i < snapshots.length; i++) {
      const errno = snapshots[i]!.saveNow(offset, length);
      if (errno !== OK) return errno;
    }
    return OK;
  }

  private async saveThen(offset: number, length: number, change: () => Promise<Errno>): Promise<Errno> {
    for (const snapshot of this.snapshots) {
      const now = snapshot.saveNow(offset, length);
      const errno = now === WOULD_BLOCK ? await snapshot.save(offset, length) : now;
      if (errno !== OK) return errno;
    }
    return change();
  }
}

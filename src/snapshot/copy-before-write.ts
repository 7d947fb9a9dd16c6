import { FilterDevice } from '../storage/filter-device.js';
import type { Snapshot } from './snapshot.js';

export class CopyBeforeWrite extends FilterDevice {
  private readonly snapshots: Snapshot[] = [];

  /** To be called while no change is in flight below. Returns what detaches it. */
  attach(snapshot: Snapshot): () => void {
    this.snapshots.push(snapshot);
    return () => void this.snapshots.splice(this.snapshots.indexOf(snapshot), 1);
  }
}

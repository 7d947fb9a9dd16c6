import type { WriteActivity } from '../bitmap/write-activity.js';
import type { WriteGate } from '../storage/device/write-gate.js';
import type { SharedDisk } from '../storage/permits/shared-disk.js';
import { WritePermits } from '../storage/permits/write-permits.js';

export interface DiskSharingOptions {
  /** The open image; undefined if only this thread can use the disk. */
  readonly file: Omit<SharedDisk, 'permits'> | undefined;
  /** Whether other threads may get permits to write. If not, they ask before every write. */
  readonly writable: boolean;
  readonly gate: WriteGate;
  /** Undefined if nobody looks for writes by other programs. */
  readonly activity: WriteActivity | undefined;
  /** As in `WritePermits`. */
  readonly unitBytes: () => number;
}

/** The use of a disk by one client that another thread serves. */
export interface DiskShare {
  readonly disk: SharedDisk;
  /** The thread with this slot has ended without a word. */
  threadEnded(slot: number): void;
  /** The client has gone. */
  release(): void;
}

/** Lets other threads use a disk, as long as any of them has a client of it. */
export class DiskSharing {
  private permits: WritePermits | undefined;
  private users = 0;

  constructor(private readonly options: DiskSharingOptions) {}

  /** For one more client. Of `slots` threads, each has a slot. Undefined if other threads cannot use the disk. */
  take(slots: number): DiskShare | undefined {
    const { file } = this.options;
    if (!file) return undefined;
    const permits = this.permits ?? this.begin(slots);
    this.users++;
    let isHeld = true;
    return {
      disk: { ...file, permits: permits.memory },
      threadEnded: (slot) => permits.leave(slot),
      release: () => {
        if (!isHeld) return;
        isHeld = false;
        this.users--;
        if (this.users === 0) this.end();
      },
    };
  }

  /** The disk has another size. */
  resize(sizeBytes: number): void {
    this.permits?.resize(sizeBytes);
  }

  private begin(slots: number): WritePermits {
    const { gate, activity, writable, unitBytes } = this.options;
    const permits = new WritePermits({ sizeBytes: gate.sizeBytes, slots, unitBytes });
    this.permits = permits;
    if (writable) {
      gate.permits = permits;
      activity?.include(permits);
    }
    return permits;
  }

  private end(): void {
    this.options.activity?.include(undefined);
    this.options.gate.permits = undefined;
    this.permits = undefined;
  }
}

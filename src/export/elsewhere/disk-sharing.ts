import { placeOf } from '../../bitmap/explained-writes.js';
import type { SharedExplanation } from '../../bitmap/store/disk-watch.js';
import type { WriteActivity } from '../../bitmap/write-activity.js';
import type { WriteGate } from '../../storage/device/write-gate.js';
import type { SharedFile } from '../../storage/file/quick-file.js';
import type { PermitMemory } from '../../storage/permits/permit-memory.js';
import { WritePermits, type WritePermitsOptions } from '../../storage/permits/write-permits.js';

export interface DiskSharingOptions {
  /** The open image; undefined if only this thread can use the disk. */
  readonly file: SharedFile | undefined;
  readonly readOnly: boolean;
  /** The kernel counts what is written, so other threads have to explain their writes. */
  readonly isCounted: boolean;
  /** What they need for that; undefined if they cannot do it. */
  readonly explain: () => SharedExplanation | undefined;
  readonly gate: WriteGate;
  /** Undefined if nobody looks for writes by other programs. */
  readonly activity: WriteActivity | undefined;
  /** As in `WritePermits`. */
  readonly unitBytes: () => number;
}

/** What another thread needs in order to read a disk, and to write what it is permitted to write. */
export interface SharedDisk {
  readonly file: SharedFile;
  readonly permits: PermitMemory;
  /** Only for a block device that the thread may write. */
  readonly explanation?: SharedExplanation;
}

interface Begun {
  readonly permits: WritePermits;
  readonly explanation: SharedExplanation | undefined;
  /** The size of the disk at that time: the permits cover no more. */
  readonly sizeBytes: number;
}

/** The use of a disk by one client that another thread serves. */
export interface DiskShare {
  readonly disk: SharedDisk;
  /** The thread with this slot has ended without a word. */
  threadEnded(slot: number): void;
  /** The client has gone. */
  release(): void;
}

/**
 * Lets other threads use a disk. The permits stay when their last client has gone, and the owner goes on giving them:
 * without them each place has to be asked for again once clients are back.
 */
export class DiskSharing {
  private begun: Begun | undefined;
  private users = 0;

  constructor(private readonly options: DiskSharingOptions) {}

  /** For one more client. Of `slots` threads, each has a slot. Undefined if other threads cannot use the disk. */
  take(slots: number): DiskShare | undefined {
    const { file } = this.options;
    if (this.users === 0 && this.begun && this.begun.sizeBytes < this.options.gate.sizeBytes) this.end();
    const begun = file && (this.begun ?? this.begin(slots));
    if (!begun) return undefined;
    const { permits, explanation } = begun;
    this.users++;
    let isHeld = true;
    return {
      disk: { file, permits: permits.memory, ...(explanation && { explanation }) },
      threadEnded: (slot) => this.threadEnded(permits, slot),
      release: () => {
        if (!isHeld) return;
        isHeld = false;
        this.users--;
      },
    };
  }

  /** The disk has another size. */
  resize(sizeBytes: number): void {
    this.begun?.permits.resize(sizeBytes);
  }

  private begin(slots: number): Begun | undefined {
    const { gate, activity, readOnly, isCounted, unitBytes } = this.options;
    const { sizeBytes } = gate;
    const permits = makePermits({ sizeBytes, slots, unitBytes });
    if (!permits) return undefined;
    const explanation = readOnly || !isCounted ? undefined : this.options.explain();
    if (!readOnly && (!isCounted || explanation)) {
      gate.permits = permits;
      activity?.include(permits);
    }
    this.begun = { permits, explanation, sizeBytes };
    return this.begun;
  }

  private threadEnded(permits: WritePermits, slot: number): void {
    permits.leave(slot);
    this.options.activity?.explained?.threadEnded(placeOf(slot));
  }

  /** For a disk that has grown. */
  private end(): void {
    this.options.activity?.include(undefined);
    this.options.gate.permits = undefined;
    this.begun = undefined;
  }
}

/** Undefined if the system has no room for them: those of a petabyte take the addresses of 32 GiB. */
function makePermits(options: WritePermitsOptions): WritePermits | undefined {
  try {
    return new WritePermits(options);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

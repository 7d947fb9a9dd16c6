import { CodedError } from '../base/coded-error.js';
import { errnoName, OK } from '../base/errno.js';
import { Turnstile } from '../base/turnstile.js';
import type { BitmapSet } from '../bitmap/bitmap-set.js';
import type { PersistentBitmaps } from '../bitmap/store/persistent-bitmaps.js';
import { TrackingDevice } from '../bitmap/tracking-device.js';
import type { BlockDevice, DeviceCapabilities } from '../storage/block-device.js';
import { WriteGate } from '../storage/write-gate.js';
import type { MetadataContext } from './metadata-context.js';
import { AllocationContext, BASE_ALLOCATION, DIRTY_BITMAP_PREFIX, DirtyBitmapContext } from './metadata-context.js';

export type { BlockDevice };

/** A client's hold on an export, as the export sees it. */
export interface ExportConnection {
  /** Finishes what is in flight, then closes the connection. Resolves when it is closed. */
  drain(): Promise<void>;
  describe(): ConnectionSummary;
}

/** What clients did with an export, since it is served. */
export interface ExportCounters {
  requests: number;
  failedRequests: number;
  bytesRead: number;
  bytesWritten: number;
}

export interface ConnectionSummary extends Readonly<ExportCounters> {
  readonly id: number;
  readonly client: string;
  readonly connectedAt: string;
}

/** A device that can follow its image to another size. */
export interface Disk extends BlockDevice {
  /** @throws CodedError IMAGE_UNUSABLE */
  resize?(sizeBytes: number): Promise<void>;
}

export interface ExportParts {
  readonly name: string;
  readonly description: string;
  /** Where the data is, for people. */
  readonly path: string;
  readonly readOnly: boolean;
  /** The bottom of the device stack, which the export closes. */
  readonly disk: Disk;
  readonly bitmaps: BitmapSet;
  /** Keeps the bitmaps in the store; undefined when they live in memory alone. */
  readonly persistence?: PersistentBitmaps | undefined;
}

/**
 * A named disk served over NBD: the stack of devices that requests go through (gate, tracking, disk), its bitmaps, and
 * who is connected.
 */
export class Export {
  readonly name: string;
  readonly description: string;
  readonly path: string;
  readonly readOnly: boolean;
  /** The top of the device stack. */
  readonly device: WriteGate;
  readonly bitmaps: BitmapSet;
  readonly persistence: PersistentBitmaps | undefined;
  readonly connections = new Set<ExportConnection>();
  /** Whoever stops the export for an instant passes here, one at a time. */
  readonly cuts = new Turnstile(1);
  private readonly disk: Disk;
  private readonly allocation: AllocationContext;
  /** What connections that are gone have done. */
  private readonly past: ExportCounters = { requests: 0, failedRequests: 0, bytesRead: 0, bytesWritten: 0 };
  private closing = false;

  constructor(parts: ExportParts) {
    this.name = parts.name;
    this.description = parts.description;
    this.path = parts.path;
    this.readOnly = parts.readOnly;
    this.disk = parts.disk;
    this.bitmaps = parts.bitmaps;
    this.persistence = parts.persistence;
    this.device = new WriteGate(new TrackingDevice(parts.disk, parts.persistence?.intents ?? parts.bitmaps));
    this.allocation = new AllocationContext(this.device);
  }

  get sizeBytes(): number {
    return this.device.sizeBytes;
  }

  get capabilities(): DeviceCapabilities {
    return this.device.capabilities;
  }

  /** Every metadata context that a client may select now, `base:allocation` first. */
  contexts(): MetadataContext[] {
    const usable = this.bitmaps.list().filter((bitmap) => bitmap.inconsistent === undefined);
    return [this.allocation, ...usable.map((bitmap) => new DirtyBitmapContext(bitmap))];
  }

  /** The context of exactly that name; undefined when there is none. */
  context(name: string): MetadataContext | undefined {
    if (name === BASE_ALLOCATION) return this.allocation;
    if (!name.startsWith(DIRTY_BITMAP_PREFIX)) return undefined;
    const bitmap = this.bitmaps.find(name.slice(DIRTY_BITMAP_PREFIX.length));
    return bitmap && bitmap.inconsistent === undefined ? new DirtyBitmapContext(bitmap) : undefined;
  }

  /** False once the export is being closed: the connection must not go on. */
  attach(connection: ExportConnection): boolean {
    if (this.closing) return false;
    this.connections.add(connection);
    return true;
  }

  detach(connection: ExportConnection): void {
    if (this.connections.delete(connection)) addTo(this.past, connection.describe());
  }

  counters(): ExportCounters {
    const total = { ...this.past };
    for (const connection of this.connections) addTo(total, connection.describe());
    return total;
  }

  /** @throws CodedError EXPORT_NOT_FOUND once the export is being closed */
  assertServed(): void {
    if (this.closing) {
      throw new CodedError('EXPORT_NOT_FOUND', `the export "${this.name}" is being closed`, 'wait until it is served');
    }
  }

  /** Makes the data durable. @throws CodedError FLUSH_FAILED */
  async flush(): Promise<void> {
    if (this.readOnly) return;
    const errno = await this.device.flush();
    if (errno === OK) return;
    throw new CodedError(
      'FLUSH_FAILED',
      `the disk of "${this.name}" could not be flushed: ${errnoName(errno)}`,
      'see the log for the cause; remove the export and add it again once its storage is sound',
    );
  }

  /**
   * Serves another size from now on; the bitmaps call a new tail dirty. Clients see it when they connect anew.
   * @throws CodedError IMAGE_UNUSABLE, BITMAP_BUSY, EXPORT_IN_USE, STORE_UNUSABLE
   */
  resize(sizeBytes: number): Promise<void> {
    return this.cuts.pass(async () => {
      this.assertServed();
      this.checkResize(sizeBytes);
      await this.device.quiesce();
      try {
        await this.disk.resize?.(sizeBytes);
        if (this.persistence) await this.persistence.resize(sizeBytes);
        else this.bitmaps.resize(sizeBytes);
      } finally {
        this.device.resume();
      }
    });
  }

  /** Drains every connection, makes the data and the bitmaps durable, and releases the disk. */
  close(): Promise<void> {
    this.closing = true;
    return this.cuts.pass(async () => {
      await Promise.all([...this.connections].map((connection) => connection.drain()));
      try {
        await this.flush();
        await this.persistence?.close();
      } finally {
        await this.disk.close();
      }
    });
  }

  private checkResize(sizeBytes: number): void {
    this.bitmaps.checkResize(sizeBytes);
    if (sizeBytes < this.sizeBytes && this.connections.size > 0) {
      throw new CodedError(
        'EXPORT_IN_USE',
        `"${this.name}" cannot shrink under its ${this.connections.size} clients`,
        'disconnect them first',
      );
    }
  }
}

function addTo(total: ExportCounters, more: ExportCounters): void {
  total.requests += more.requests;
  total.failedRequests += more.failedRequests;
  total.bytesRead += more.bytesRead;
  total.bytesWritten += more.bytesWritten;
}

import type { BitmapSet } from '../bitmap/bitmap-set.js';
import type { BlockDevice, DeviceCapabilities } from '../storage/block-device.js';
import type { MetadataContext } from './metadata-context.js';
import { AllocationContext, BASE_ALLOCATION, DIRTY_BITMAP_PREFIX, DirtyBitmapContext } from './metadata-context.js';

export type { BlockDevice };

/** A client's hold on an export, as the export sees it. */
export interface ExportConnection {
  /** Finishes what is in flight, then closes the connection. Resolves when it is closed. */
  drain(): Promise<void>;
  describe(): ConnectionSummary;
}

export interface ConnectionSummary {
  readonly id: number;
  readonly client: string;
  readonly connectedAt: string;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readonly requests: number;
  readonly failedRequests: number;
}

export interface ExportParts {
  readonly name: string;
  readonly description: string;
  /** Where the data is, for people. */
  readonly path: string;
  readonly readOnly: boolean;
  /** The top of the device stack. */
  readonly device: BlockDevice;
  readonly bitmaps: BitmapSet;
}

/** A named disk served over NBD: the device that requests go to, its bitmaps, and who is connected. */
export class Export {
  readonly name: string;
  readonly description: string;
  readonly path: string;
  readonly readOnly: boolean;
  readonly device: BlockDevice;
  readonly bitmaps: BitmapSet;
  readonly connections = new Set<ExportConnection>();
  private readonly allocation: AllocationContext;
  private closing = false;

  constructor(parts: ExportParts) {
    this.name = parts.name;
    this.description = parts.description;
    this.path = parts.path;
    this.readOnly = parts.readOnly;
    this.device = parts.device;
    this.bitmaps = parts.bitmaps;
    this.allocation = new AllocationContext(parts.device);
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
    this.connections.delete(connection);
  }

  /** Drains every connection, makes the data durable, and releases the disk. */
  async close(): Promise<void> {
    this.closing = true;
    await Promise.all([...this.connections].map((connection) => connection.drain()));
    if (!this.readOnly) await this.device.flush();
    await this.device.close();
  }
}

import type { BlockDevice } from '../storage/device/block-device.js';
import type { MinBlockBytes } from './block-size.js';
import { AllocationContext, type MetadataContext } from './metadata-context.js';
import { ServedDisk } from './served-disk.js';

export interface ViewParts {
  /** `EXPORT@BACKUP-ID` */
  readonly name: string;
  readonly description: string;
  /** That of the export. */
  readonly minBlockBytes: MinBlockBytes;
  /** Read-only; whoever made it closes it once the view is closed. */
  readonly device: BlockDevice;
  /** Beside `base:allocation`. */
  readonly contexts: readonly MetadataContext[];
}

/** An export as it was at the instant at which a backup began, read-only. */
export class View extends ServedDisk {
  readonly name: string;
  readonly description: string;
  readonly readOnly = true;
  readonly minBlockBytes: MinBlockBytes;
  readonly device: BlockDevice;
  private readonly all: readonly MetadataContext[];

  constructor({ name, description, minBlockBytes, device, contexts }: ViewParts) {
    super();
    this.name = name;
    this.description = description;
    this.minBlockBytes = minBlockBytes;
    this.device = device;
    this.all = [new AllocationContext(device), ...contexts];
  }

  override contexts(): MetadataContext[] {
    return [...this.all];
  }

  /** Lets no one connect any more, and drains those who are. */
  async close(): Promise<void> {
    this.leave();
    await this.drainConnections();
  }
}

import type { MinBlockBytes } from '../api/values.js';
import type { BlockDevice } from '../storage/device/block-device.js';
import { diskContexts, type MetadataContext } from './metadata-context.js';
import { type GuardedAs, ServedDisk } from './served-disk.js';

export interface ViewParts {
  /** `EXPORT@BACKUP-ID` */
  readonly name: string;
  /** The export that it is a view of. */
  readonly exported: Pick<ServedDisk, 'guardedAs'>;
  readonly description: string;
  /** The same as the export's. */
  readonly minBlockBytes: MinBlockBytes;
  /** As in `ServedDisk`. */
  readonly latencyBounds?: readonly number[];
  /** Read-only. The creator closes it after the view is closed. */
  readonly device: BlockDevice;
  /** In addition to those that every disk has. */
  readonly contexts: readonly MetadataContext[];
}

/** A read-only view of an export as it was at the instant a backup began. */
export class View extends ServedDisk {
  readonly name: string;
  readonly description: string;
  readonly readOnly = true;
  readonly minBlockBytes: MinBlockBytes;
  readonly device: BlockDevice;
  private readonly exported: ViewParts['exported'];
  private readonly all: readonly MetadataContext[];

  constructor({ name, exported, description, minBlockBytes, latencyBounds, device, contexts }: ViewParts) {
    super(latencyBounds);
    this.name = name;
    this.exported = exported;
    this.description = description;
    this.minBlockBytes = minBlockBytes;
    this.device = device;
    this.all = [...diskContexts(device), ...contexts];
  }

  /** As the export, which may need TLS from now on. */
  override get guardedAs(): GuardedAs {
    return { ...this.exported.guardedAs, right: 'backup' };
  }

  override contexts(): MetadataContext[] {
    return [...this.all];
  }

  /** Admits no new clients, and drains the connected ones. */
  async close(): Promise<void> {
    this.leave();
    await this.drainConnections();
  }
}

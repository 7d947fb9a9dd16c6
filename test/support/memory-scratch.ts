import { Backups } from '../../src/backup/backups.js';
import { ScratchDirectory } from '../../src/backup/scratch-directory.js';
import { type Errno, OK } from '../../src/base/errno.js';
import { silentLog } from '../../src/base/log.js';
import type { KeyValueStore } from '../../src/bitmap/store/key-value-store.js';
import type { ExportRegistry } from '../../src/export/registry.js';
import type { Scratch } from '../../src/snapshot/scratch.js';
import type { BlockDevice } from '../../src/storage/device/block-device.js';
import type { ImageToClone } from '../../src/storage/image/clone.js';
import { FaultyDevice } from './faulty-device.js';
import { MemoryDevice } from './memory-device.js';

/** Scratch in memory that can be made to fail, and counts how much of it is in use. */
export class MemoryScratch extends ScratchDirectory {
  /** The open devices, oldest first. */
  readonly devices: CountedDevice[] = [];
  /** The open clones, oldest first. */
  readonly clones: CountedDevice[] = [];
  /** Makes the clone of an image; undefined where images cannot be cloned. */
  makeClone: (path: string) => Promise<BlockDevice | undefined> = async () => undefined;
  /** The free bytes that it reports. */
  free = Number.POSITIVE_INFINITY;

  constructor() {
    super('memory', { posix: undefined, log: silentLog });
  }

  override async open(sizeBytes: number): Promise<Scratch> {
    return counted(new MemoryDevice(sizeBytes), this.devices);
  }

  protected override async cloneNow({ path }: ImageToClone): Promise<BlockDevice | undefined> {
    const clone = await this.makeClone(path);
    return clone && counted(clone, this.clones);
  }

  override async freeBytes(): Promise<number> {
    return this.free;
  }
}

/** Backups whose old data is kept in memory, without a log and events. */
export function openMemoryBackups(exports: ExportRegistry, store: KeyValueStore): Promise<Backups> {
  return Backups.open({ exports, store, scratch: new MemoryScratch(), log: silentLog, publish: () => {} });
}

/** A device that is among the open ones until it is closed. */
function counted(inner: BlockDevice, open: CountedDevice[]): CountedDevice {
  const device: CountedDevice = new CountedDevice(inner, () => {
    open.splice(open.indexOf(device), 1);
  });
  open.push(device);
  return device;
}

class CountedDevice extends FaultyDevice {
  /** The answer of `lostWrites`. */
  lost: Errno = OK;

  constructor(
    inner: BlockDevice,
    private readonly closed: () => void,
  ) {
    super(inner);
  }

  async lostWrites(): Promise<Errno> {
    return this.lost;
  }

  override async close(): Promise<void> {
    this.closed();
  }
}

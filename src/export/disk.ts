import type { BlockDevice } from '../storage/device/block-device.js';
import type { SharedFile } from '../storage/file/quick-file.js';
import type { DiskIdentity } from '../storage/image/disk-identity.js';

/** The device at the bottom of an export's stack. */
export interface Disk extends BlockDevice {
  /** @throws CodedError IMAGE_UNUSABLE */
  resize?(sizeBytes: number): Promise<void>;
  /** Bytes that hold data or may hold data; undefined when not known. */
  allocatedBytes?(): Promise<number | undefined>;
  /** What other threads need to use the disk; missing when they cannot. */
  readonly shared?: SharedFile;
  /** How many flushes have shared the flush of the file with another; missing where none can. */
  readonly mergedFlushes?: number;
  /** Whether the kernel counts what is written to it. */
  readonly counting?: unknown;
  /** How other programs that open the same disk recognise it; missing when no other program can open it. */
  identify?(): Promise<DiskIdentity>;
}

import type { KeyValueStore } from '../bitmap/store/key-value-store.js';
import { readExport, readExports } from '../bitmap/store/stored-exports.js';
import { type DiskIdentity, isSameDisk } from '../storage/disk-identity.js';
import type { KnownDisk } from '../storage/open-file-device.js';

/**
 * What the state says of a disk that is opened as this export. A disk that was served before is raw, whatever its guest
 * has written into its first sector since. It keeps the size it was served with, as long as the image has the size it had.
 */
export function knownDisk(store: KeyValueStore, exportName: string, disk: DiskIdentity): KnownDisk {
  const isRaw = readExports(store).some(({ stored }) => isSameDisk(stored.identity, disk));
  const own = readExport(store, exportName)?.identity;
  if (!own || !isSameDisk(own, disk) || own.imageBytes !== disk.imageBytes) return { isRaw };
  return { isRaw, sizeBytes: own.sizeBytes };
}

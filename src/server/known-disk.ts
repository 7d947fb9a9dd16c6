import type { KeyValueStore } from '../bitmap/store/key-value-store.js';
import { exportKey } from '../bitmap/store/keys.js';
import { readExport, readExports } from '../bitmap/store/stored-exports.js';
import { type DiskIdentity, isSameDisk } from '../storage/image/disk-identity.js';
import type { KnownDisk } from '../storage/image/open-disk.js';

/**
 * What the state says of a disk that is opened as this export. A disk that was served before is raw, whatever its guest
 * has written into its first sector since. It keeps the size it was served with, as long as the image has the size it had.
 * What was known and is damaged counts as raw: nothing that happens to the state may keep a disk from being served.
 */
export function knownDisk(store: KeyValueStore, exportName: string, disk: DiskIdentity): KnownDisk {
  const own = readExport(store, exportName)?.identity;
  const isDamaged = own === undefined && [...store.keys(exportKey(exportName))].length > 0;
  const isRaw = isDamaged || readExports(store).some(({ stored }) => isSameDisk(stored.identity, disk));
  if (!own || !isSameDisk(own, disk) || own.imageBytes !== disk.imageBytes) return { isRaw };
  return { isRaw, sizeBytes: own.sizeBytes };
}

import type { KeyValueStore } from '../bitmap/store/key-value-store.js';
import { exportKey } from '../bitmap/store/keys.js';
import { readExport, readExports } from '../bitmap/store/stored-exports.js';
import { type DiskIdentity, isSameDisk } from '../storage/image/disk-identity.js';
import type { KnownDisk } from '../storage/image/open-disk.js';

/**
 * Looks up in the store what is known about a disk that is opened as this export. A disk that was served before is raw,
 * whatever its guest has written into the first sector since. It keeps the size with which it was served, as long as the
 * image has the same size as then. If the entry is damaged, the disk counts as raw, because damage to the store must not
 * keep a disk from being served.
 */
export function knownDisk(store: KeyValueStore, exportName: string, disk: DiskIdentity): KnownDisk {
  const own = readExport(store, exportName)?.identity;
  const isDamaged = own === undefined && [...store.keys(exportKey(exportName))].length > 0;
  const isRaw = isDamaged || readExports(store).some(({ stored }) => isSameDisk(stored.identity, disk));
  if (!own || !isSameDisk(own, disk) || own.imageBytes !== disk.imageBytes) return { isRaw };
  return { isRaw, sizeBytes: own.sizeBytes };
}

import { resolve } from 'node:path';
import type { BitmapSpec, ExportSpec } from '../api/export.js';
import { CodedError } from '../base/coded-error.js';
import type { Log } from '../base/log.js';
import { BitmapSet } from '../bitmap/bitmap-set.js';
import { changeDurably } from '../bitmap/store/change-durably.js';
import type { KeyValueStore } from '../bitmap/store/key-value-store.js';
import { exportKey } from '../bitmap/store/keys.js';
import { PersistentBitmaps } from '../bitmap/store/persistent-bitmaps.js';
import { readExport, readExports } from '../bitmap/store/stored-exports.js';
import type { Undo } from '../bitmap/undo.js';
import { checkWholeBlocks, DEFAULT_MIN_BLOCK_BYTES } from '../export/block-size.js';
import { Export } from '../export/export.js';
import type { ExportSource } from '../export/registry.js';
import { nodePosix } from '../posix/node-posix.js';
import type { Posix } from '../posix/posix-calls.js';
import type { FileDevice } from '../storage/file/file-device.js';
import { footprintOf } from '../storage/image/disk-footprint.js';
import { type DiskIdentity, isSameDisk } from '../storage/image/disk-identity.js';
import { type KnownDisk, openDisk } from '../storage/image/open-disk.js';
import { witnessOf } from '../storage/image/witness.js';
import type { PersistenceConfig } from './config.js';
import type { DiskClaim, DiskClaims } from './disk-claims.js';
import type { ImagePlaces } from './image-places.js';

/** Together with the longest name of a bitmap, it still fits into an LMDB key of at most 1978 bytes. */
const MAX_STORED_NAME_BYTES = 512;

export interface ExportHost {
  /** Undefined: bitmaps are kept only in memory. */
  readonly store: KeyValueStore | undefined;
  /** Why the store may have lost bitmaps. Undefined if it has not. */
  readonly lost?: string | undefined;
  readonly persistence: PersistenceConfig;
  readonly cutTimeoutSeconds?: number;
  readonly posix: Posix | undefined;
  /** The disks that the exports of the server use. Undefined if there is only one export. */
  readonly claims?: DiskClaims;
  readonly log: Log;
  /** Undefined: images may be anywhere. */
  readonly places?: ImagePlaces | undefined;
}

/**
 * Opens the image of an export and loads its bitmaps. @throws CodedError IMAGE_UNUSABLE, IMAGE_LOCKED,
 * IMAGE_NOT_RAW, EXPORT_INVALID, BITMAP_INVALID, STORE_UNUSABLE
 */
export async function openExport(wanted: ExportSpec, host: ExportHost, source: ExportSource = 'api'): Promise<Export> {
  // Make the path absolute, because programs that are given it may run in another directory.
  const spec = { ...wanted, path: resolve(wanted.path) };
  const { name, path, readOnly = false, description = '', minBlockBytes = DEFAULT_MIN_BLOCK_BYTES } = spec;
  const guard = host.places?.guard(path, source);
  guard?.admitPath();
  const claim = () => claimDisk({ exportName: name, path, readOnly }, host);
  // Claim the disk before opening it, because an error of the kernel would not name the other export. A file that does not
  // exist yet can only be claimed afterwards.
  let release = await claim();
  let disk: FileDevice | undefined;
  let persistence: PersistentBitmaps | undefined;
  try {
    disk = await openDisk({
      path,
      readOnly,
      createSizeBytes: spec.sizeBytes,
      know: (found) => {
        const known = host.store ? knownDisk(host.store, name, found) : { isRaw: false };
        const isRaw = known.isRaw || spec.format === 'raw' || host.lost !== undefined;
        return { ...known, isRaw };
      },
      guard,
      posix: host.posix,
      log: host.log,
    });
    release ??= await claim();
    checkWholeBlocks(name, disk.sizeBytes, minBlockBytes);
    const bitmaps = new BitmapSet(disk.sizeBytes);
    persistence = host.store && (await openPersistence(spec, disk, bitmaps, host.store, host));
    await addMissing(spec.bitmaps ?? [], bitmaps, persistence, host.log);
    const { cutTimeoutSeconds } = host;
    const parts = { name, path, readOnly, description, minBlockBytes, disk, bitmaps, persistence, release };
    return new Export({ ...parts, ...(cutTimeoutSeconds !== undefined && { cutTimeoutSeconds }) });
  } catch (error) {
    // Otherwise, the store would show a crash, after which the times of the disk are not compared.
    await persistence?.close().catch(() => {});
    // What matters is why the export cannot be opened.
    await disk?.close().catch(() => {});
    release?.();
    throw error;
  }
}

/** Undefined if the disk does not exist yet. @throws CodedError IMAGE_LOCKED */
async function claimDisk(
  claim: Omit<DiskClaim, 'footprint'>,
  { claims, posix = nodePosix }: ExportHost,
): Promise<(() => void) | undefined> {
  const footprint = claims && (await footprintOf(claim.path, posix));
  return footprint && claims.take({ ...claim, footprint });
}

function openPersistence(
  { name, readOnly = false }: ExportSpec,
  disk: FileDevice,
  bitmaps: BitmapSet,
  store: KeyValueStore,
  { persistence, lost, posix, log }: ExportHost,
): Promise<PersistentBitmaps> {
  if (Buffer.byteLength(name) > MAX_STORED_NAME_BYTES) {
    throw new CodedError(
      'EXPORT_INVALID',
      `the name of the export is too long to store bitmaps: ${name.slice(0, 40)}…`,
      `choose a name of at most ${MAX_STORED_NAME_BYTES} bytes, or start the server with --transient`,
    );
  }
  const { onBitmapError, regionBytes, maxActiveRegions, coolAfterSeconds } = persistence;
  return PersistentBitmaps.open({
    exportName: name,
    bitmaps,
    store,
    identify: () => disk.identifySettled(),
    readCounters: async () => (await disk.identify()).counters,
    counting: disk.counting,
    posix,
    witness: disk.isBlockDevice ? () => witnessOf(disk) : undefined,
    readOnly,
    // The clock ticks once a second.
    limits: { regionBytes, maxActiveRegions, coolAfterTicks: coolAfterSeconds },
    onBitmapError,
    lost,
    log,
  });
}

/** Adds the wanted bitmaps that do not exist yet. Existing ones keep their granularity. */
async function addMissing(
  wanted: readonly BitmapSpec[],
  bitmaps: BitmapSet,
  persistence: PersistentBitmaps | undefined,
  log: Log,
): Promise<void> {
  for (const { name, granularityBytes } of wanted) {
    const present = bitmaps.find(name)?.granularityBytes;
    if (present !== undefined && granularityBytes !== undefined && present !== granularityBytes) {
      log.warn({ bitmap: name, present, granularityBytes }, 'the bitmap exists already and keeps its granularity');
    }
  }
  const persistent = persistence !== undefined;
  const missing = wanted.filter(({ name }) => !bitmaps.find(name));
  if (missing.length === 0) return;
  const apply = (undos: Undo[]) => {
    for (const bitmap of missing) {
      undos.push(bitmaps.add({ ...bitmap, persistent }));
      // The store may have lost a bitmap of this name, and with it the record of what was dirty.
      if (persistence?.lost !== undefined) bitmaps.get(bitmap.name).markInconsistent(persistence.lost);
    }
  };
  await changeDurably(persistence ? [persistence.commits] : [], persistence?.store, { apply });
}

/**
 * Looks up in the store what is known about a disk that is opened as this export. A disk that was served before is raw,
 * whatever its guest has written into the first sector since. It keeps the size with which it was served, as long as the
 * image has the same size as then. If the entry is damaged, the disk counts as raw, because damage to the store must not
 * keep a disk from being served.
 */
function knownDisk(store: KeyValueStore, exportName: string, disk: DiskIdentity): KnownDisk {
  const own = readExport(store, exportName)?.identity;
  const isDamaged = own === undefined && [...store.keys(exportKey(exportName))].length > 0;
  const isRaw = isDamaged || readExports(store).some(({ stored }) => isSameDisk(stored.identity, disk));
  if (!own || !isSameDisk(own, disk) || own.imageBytes !== disk.imageBytes) return { isRaw };
  return { isRaw, sizeBytes: own.sizeBytes };
}

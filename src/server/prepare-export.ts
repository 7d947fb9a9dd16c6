import { resolve } from 'node:path';
import type { BitmapSpec, ExportSpec } from '../api/export.js';
import { CodedError } from '../base/coded-error.js';
import type { Log } from '../base/log.js';
import { logAbout } from '../base/log-about.js';
import type { Turnstile } from '../base/turnstile.js';
import { BitmapSet } from '../bitmap/bitmap-set.js';
import type { KeyValueStore } from '../bitmap/store/key-value-store.js';
import { exportKey } from '../bitmap/store/keys.js';
import { PersistentBitmaps, type PreparedBitmaps } from '../bitmap/store/persistent-bitmaps.js';
import { isKnownDisk, type NamesByDisk, readExport } from '../bitmap/store/stored-exports.js';
import { checkWholeBlocks, DEFAULT_MIN_BLOCK_BYTES } from '../export/block-size.js';
import { Export } from '../export/export.js';
import { nodePosix } from '../posix/node-posix.js';
import type { Posix } from '../posix/posix-calls.js';
import type { FileDevice } from '../storage/file/file-device.js';
import { footprintOf } from '../storage/image/disk-footprint.js';
import { type DiskIdentity, isSameDisk } from '../storage/image/disk-identity.js';
import type { ImageGuard } from '../storage/image/image-guard.js';
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
  /** Of latency histograms, in milliseconds. */
  readonly latencyBounds?: readonly number[];
  /** Whether clients can use TLS. */
  readonly hasTls?: boolean;
  readonly posix: Posix | undefined;
  /** The disks that the exports of the server use. Undefined if there is only one export. */
  readonly claims?: DiskClaims;
  readonly log: Log;
  /** Undefined: images may be anywhere. */
  readonly places?: ImagePlaces | undefined;
}

/** What the exports that are opened together share. */
export interface Together {
  /** The exports in the store, as they were before. Undefined without a store. */
  readonly known: NamesByDisk | undefined;
  /** The guard of the image at an absolute path. Undefined: images may be anywhere. */
  readonly guard: ((path: string) => ImageGuard) | undefined;
  /** Admits one claim at a time, so that of two exports of one disk the later one is refused. */
  readonly claiming: Turnstile;
}

/** An export whose disk is open and locked, and whose bitmaps are loaded. Nothing is stored yet. */
export interface PreparedExport {
  /** Undefined if bitmaps are kept only in memory. */
  readonly opening: PreparedBitmaps | undefined;
  /** Call it once the opening is stored. */
  readonly serve: () => Export;
  /** Closes the disk instead. */
  readonly abandon: () => Promise<void>;
}

/**
 * Opens the image of an export and loads its bitmaps. @throws CodedError IMAGE_UNUSABLE, IMAGE_LOCKED,
 * IMAGE_NOT_RAW, EXPORT_INVALID, BITMAP_INVALID
 */
export async function prepareExport(
  wanted: ExportSpec,
  host: ExportHost,
  { known, guard: guardOf, claiming }: Together,
): Promise<PreparedExport> {
  // Make the path absolute, because programs that are given it may run in another directory.
  const spec = { ...wanted, path: resolve(wanted.path) };
  const { name, path, readOnly = false, description = '', minBlockBytes = DEFAULT_MIN_BLOCK_BYTES } = spec;
  const needsTls = spec.tls === 'required';
  checkTlsOf(spec, host.hasTls ?? false);
  const guard = guardOf?.(path);
  guard?.admitPath();
  const claim = () => claiming.pass(() => claimDisk({ exportName: name, path, readOnly }, host));
  const log = logAbout(host.log, { export: name });
  // Claim the disk before opening it, because an error of the kernel would not name the other export. A file that does not
  // exist yet can only be claimed afterwards.
  let release = await claim();
  let disk: FileDevice | undefined;
  const abandon = async () => {
    await disk?.close();
    release?.();
  };
  try {
    disk = await openDisk({
      path,
      readOnly,
      createSizeBytes: spec.sizeBytes,
      know: (found) => {
        const stored = host.store && known ? knownDisk(host.store, known, name, found) : { isRaw: false };
        const isRaw = stored.isRaw || spec.format === 'raw' || host.lost !== undefined;
        return { ...stored, isRaw };
      },
      guard,
      posix: host.posix,
      log,
    });
    release ??= await claim();
    checkWholeBlocks(name, disk.sizeBytes, minBlockBytes);
    const bitmaps = new BitmapSet(disk.sizeBytes);
    const opening =
      host.store && (await prepareBitmaps(spec, disk, bitmaps, { ...host, log, store: host.store }, known));
    if (!opening) addWanted(spec.bitmaps ?? [], bitmaps, { persistent: false, log });
    const { cutTimeoutSeconds, latencyBounds } = host;
    const chosen = {
      ...(cutTimeoutSeconds !== undefined && { cutTimeoutSeconds }),
      ...(latencyBounds && { latencyBounds }),
    };
    const persistence = opening?.persistence;
    const parts = { name, path, readOnly, needsTls, description, minBlockBytes, disk, bitmaps, persistence, release };
    const serve = () => new Export({ ...parts, ...chosen });
    return { opening, serve, abandon };
  } catch (error) {
    // What matters is why the export cannot be opened.
    await abandon().catch(() => {});
    throw error;
  }
}

/** Checks that clients can use an export that requires TLS. @throws CodedError EXPORT_INVALID */
export function checkTlsOf({ name, tls }: ExportSpec, hasTls: boolean): void {
  if (tls !== 'required' || hasTls) return;
  const hint = 'give the server --tls-certificates or --tls-psk';
  throw new CodedError('EXPORT_INVALID', `"${name}" requires TLS, which the server does not offer`, hint);
}

/** Undefined if the disk does not exist yet. @throws CodedError IMAGE_LOCKED */
async function claimDisk(
  claim: Omit<DiskClaim, 'footprint'>,
  { claims, posix = nodePosix }: ExportHost,
): Promise<(() => void) | undefined> {
  const footprint = claims && (await footprintOf(claim.path, posix));
  return footprint && claims.take({ ...claim, footprint });
}

function prepareBitmaps(
  { name, readOnly = false, bitmaps: wanted = [] }: ExportSpec,
  disk: FileDevice,
  bitmaps: BitmapSet,
  { store, persistence, lost, posix, log }: ExportHost & { readonly store: KeyValueStore },
  known: NamesByDisk | undefined,
): Promise<PreparedBitmaps> {
  if (Buffer.byteLength(name) > MAX_STORED_NAME_BYTES) {
    throw new CodedError(
      'EXPORT_INVALID',
      `the name of the export is too long to store bitmaps: ${name.slice(0, 40)}…`,
      `choose a name of at most ${MAX_STORED_NAME_BYTES} bytes, or start the server with --transient`,
    );
  }
  const { onBitmapError, regionBytes, maxActiveRegions, coolAfterSeconds } = persistence;
  return PersistentBitmaps.prepare({
    exportName: name,
    bitmaps,
    store,
    identify: () => disk.identifySettled(),
    timesNow: () => disk.timesNow(),
    readCounters: async () => (await disk.identify()).counters,
    counting: disk.counting,
    posix,
    witness: disk.isBlockDevice ? () => witnessOf(disk) : undefined,
    readOnly,
    // The clock ticks once a second.
    limits: { regionBytes, maxActiveRegions, coolAfterTicks: coolAfterSeconds },
    onBitmapError,
    lost,
    known,
    complete: (lost) => addWanted(wanted, bitmaps, { persistent: true, lost, log }),
    log,
  });
}

/** Adds the wanted bitmaps that do not exist yet. Existing ones keep their granularity. @throws CodedError BITMAP_INVALID */
function addWanted(
  wanted: readonly BitmapSpec[],
  bitmaps: BitmapSet,
  { persistent, lost, log }: { readonly persistent: boolean; readonly lost?: string | undefined; readonly log: Log },
): void {
  for (const bitmap of wanted) {
    const { name, granularityBytes } = bitmap;
    const present = bitmaps.find(name)?.granularityBytes;
    if (present === undefined) {
      bitmaps.add({ ...bitmap, persistent });
      // The store may have lost a bitmap of this name, and with it the record of what was dirty.
      if (lost !== undefined) bitmaps.get(name).markInconsistent(lost);
    } else if (granularityBytes !== undefined && present !== granularityBytes) {
      log.warn({ bitmap: name, present, granularityBytes }, 'the bitmap exists already and keeps its granularity');
    }
  }
}

/**
 * Looks up in the store what is known about a disk that is opened as this export. A disk that was served before is raw,
 * whatever its guest has written into the first sector since. It keeps the size with which it was served, as long as the
 * image has the same size as then. If the entry is damaged, the disk counts as raw, because damage to the store must not
 * keep a disk from being served.
 */
function knownDisk(store: KeyValueStore, known: NamesByDisk, exportName: string, disk: DiskIdentity): KnownDisk {
  const own = readExport(store, exportName)?.identity;
  const isDamaged = own === undefined && [...store.keys(exportKey(exportName))].length > 0;
  const isRaw = isDamaged || isKnownDisk(disk, store, known);
  if (!own || !isSameDisk(own, disk) || own.imageBytes !== disk.imageBytes) return { isRaw };
  return { isRaw, sizeBytes: own.sizeBytes };
}

import type { BackupPart, FullReason } from '../api/backup.js';

/** The format of a manifest, except during some merges. */
export const MANIFEST_FORMAT = 3;
/** The format during a merge onto another image, which older versions would take for a merge that was not finished. */
const MERGING_FORMAT = 4;

/** The source of an image that was not pulled through the control API of a tidemark server. */
export interface ImageOrigin {
  readonly uri: string;
  /** The metadata context that says what changed; null if everything was read. */
  readonly context: string | null;
}

/** Why an image is not good and must not get images on top of it. */
export interface RecordedDamage {
  /**
   * `verify` found the file changed, and removes the record if the file is good later; `prove` found that it differs
   * from the disk.
   */
  readonly foundBy: 'verify' | 'prove';
  /** In ISO 8601. */
  readonly foundAt: string;
  readonly problem: string;
}

/** One restore point: sizes are bytes. */
export interface ImageEntry {
  readonly id: string;
  /** The image below; null for a full image. */
  readonly base: string | null;
  readonly mode: BackupPart['mode'];
  readonly fullReason?: FullReason;
  /** Undefined if a tidemark server made the backup; then the image has the backup's ID. */
  readonly origin?: ImageOrigin;
  /** Only the user asserted that its changes, or those of an image merged into it, count from the base. */
  readonly baseAsserted?: true;
  /** The whole disk was read again, and equals the chain. */
  readonly proven?: true;
  readonly damage?: RecordedDamage;
  /**
   * When `verify` last read the whole image and found it good, in ISO 8601. Only the manifest has it, and not the entry
   * that the image carries.
   */
  readonly checkedAt?: string;
  /** Made by `repair` from an image without its own entry: the checksum is from the time of the repair. */
  readonly measured?: true;
  /** The instant of the backup, in ISO 8601. */
  readonly takenAt: string;
  readonly durationSeconds: number;
  /** Size of the disk. */
  readonly sizeBytes: number;
  /** Dirty clusters; the whole disk for a full image. */
  readonly dirtyBytes: number;
  /** Data read from the view, over NBD or from the live disk. */
  readonly readBytes: number;
  /** Data and zero clusters that the image has. */
  readonly dataBytes: number;
  readonly zeroBytes: number;
  readonly fileBytes: number;
  /** Checksum of the file, made by `ImageChecksum`. */
  readonly checksum: string;
}

export interface Manifest {
  readonly format: typeof MANIFEST_FORMAT | typeof MERGING_FORMAT;
  readonly export: string;
  /** Restore points, the oldest first. */
  readonly images: readonly ImageEntry[];
  /** A complete image whose backup may be committed. The server knows whether it is. */
  readonly pending?: ImageEntry;
  /**
   * A merge in progress: the new image replaces the old one with its ID, and the images in `drops` are to be removed.
   */
  readonly merging?: Merge;
}

export interface Merge {
  readonly image: ImageEntry;
  readonly drops: readonly string[];
}

/** The format that a manifest has during this merge, or without one. */
export function formatDuring(merging: Merge | undefined): Manifest['format'] {
  return merging === undefined || merging.image.base === null ? MANIFEST_FORMAT : MERGING_FORMAT;
}

/** IDs become file names. */
const ID = /^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$/;
const CHECKSUM = /^xxh64-sum:[0-9a-f]{16}$/;
const byteFields = ['sizeBytes', 'dirtyBytes', 'readBytes', 'dataBytes', 'zeroBytes', 'fileBytes'] as const;

/**
 * Whether a document has the shape of a manifest. Checked by hand, because loading a schema library takes longer than
 * most commands run.
 */
export function isManifest(value: unknown): value is Manifest {
  if (!isRecord<Manifest>(value)) return false;
  const { format, images, pending, merging } = value;
  return (
    isKnownFormat(format) &&
    typeof value.export === 'string' &&
    Array.isArray(images) &&
    images.every(isImage) &&
    (pending === undefined || isImage(pending)) &&
    (merging === undefined || isMerge(merging))
  );
}

/** Whether another version of tidemark wrote this manifest. */
export function isOfAnotherFormat(value: unknown): boolean {
  return isRecord<Manifest>(value) && typeof value.format === 'number' && !isKnownFormat(value.format);
}

function isKnownFormat(format: unknown): boolean {
  return format === MANIFEST_FORMAT || format === MERGING_FORMAT;
}

export function isImage(value: unknown): value is ImageEntry {
  if (!isRecord<ImageEntry>(value)) return false;
  const { id, base, mode, takenAt, durationSeconds, checksum } = value;
  return (
    isId(id) &&
    (base === null || isId(base)) &&
    (mode === 'full' || mode === 'incremental') &&
    typeof takenAt === 'string' &&
    typeof durationSeconds === 'number' &&
    isChecksum(checksum) &&
    byteFields.every((field) => Number.isSafeInteger(value[field]) && (value[field] as number) >= 0) &&
    hasSoundExtras(value)
  );
}

/** Whether the optional fields are valid. */
function hasSoundExtras({
  origin,
  baseAsserted,
  proven,
  measured,
  damage,
  checkedAt,
}: { [Field in keyof ImageEntry]?: unknown }): boolean {
  return (
    (origin === undefined || isOrigin(origin)) &&
    [baseAsserted, proven, measured].every((flag) => flag === undefined || flag === true) &&
    (checkedAt === undefined || typeof checkedAt === 'string') &&
    (damage === undefined || isDamage(damage))
  );
}

function isOrigin(value: unknown): value is ImageOrigin {
  if (!isRecord<ImageOrigin>(value)) return false;
  return typeof value.uri === 'string' && (value.context === null || typeof value.context === 'string');
}

function isDamage(value: unknown): value is RecordedDamage {
  if (!isRecord<RecordedDamage>(value)) return false;
  const { foundBy, foundAt, problem } = value;
  const isKnown = foundBy === 'verify' || foundBy === 'prove';
  return isKnown && typeof foundAt === 'string' && typeof problem === 'string';
}

function isMerge(value: unknown): value is Merge {
  return isRecord<Merge>(value) && isImage(value.image) && Array.isArray(value.drops) && value.drops.every(isId);
}

export function isChecksum(value: unknown): value is string {
  return typeof value === 'string' && CHECKSUM.test(value);
}

export function isId(value: unknown): value is string {
  return typeof value === 'string' && ID.test(value);
}

/** Undefined if the text is not JSON. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

export function isRecord<Shape>(value: unknown): value is { [Field in keyof Shape]?: unknown } {
  return typeof value === 'object' && value !== null;
}

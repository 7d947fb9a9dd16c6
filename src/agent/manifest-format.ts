export const MANIFEST_FORMAT = 3;

/** Why everything has to be read. */
export interface FullReason {
  /** For programs. */
  readonly code: string;
  /** For people. */
  readonly detail: string;
}

/** Where the disk of an image was read, when that was no tidemark server with its control API. */
export interface ImageOrigin {
  readonly uri: string;
  /** The metadata context that says what changed; null: everything was read. */
  readonly context: string | null;
}

/** Why an image must not be built upon, nor be called good. */
export interface RecordedDamage {
  /** `verify` found the file changed, and takes it back when it finds it good; `prove` found that it is not the disk. */
  readonly foundBy: 'verify' | 'prove';
  /** In ISO 8601. */
  readonly foundAt: string;
  readonly problem: string;
}

/** One restore point: sizes are bytes. */
export interface ImageEntry {
  readonly id: string;
  /** The image below; null: it has everything. */
  readonly base: string | null;
  readonly mode: 'full' | 'incremental';
  readonly fullReason?: FullReason;
  /** Undefined: a tidemark server's backup, whose id is the image's. */
  readonly origin?: ImageOrigin;
  /** That its changes count from its base, or those of an image that was merged into it, is somebody's word alone. */
  readonly baseAsserted?: true;
  /** The whole disk was read once more, and was what the chain has. */
  readonly proven?: true;
  readonly damage?: RecordedDamage;
  /** Made by `repair` from an image without an entry of its own: its checksum is that of the day of the repair. */
  readonly measured?: true;
  /** The instant that it shows, in ISO 8601. */
  readonly takenAt: string;
  readonly durationSeconds: number;
  /** Of the disk. */
  readonly sizeBytes: number;
  /** What the bitmap called dirty, in whole clusters; of a full one, all of the disk. */
  readonly dirtyBytes: number;
  /** What was read of the view, over NBD or from the live disk. */
  readonly readBytes: number;
  /** Data and zero clusters that the image has. */
  readonly dataBytes: number;
  readonly zeroBytes: number;
  readonly fileBytes: number;
  /** Of the file, as `ImageChecksum` makes it. */
  readonly checksum: string;
}

export interface Manifest {
  readonly format: typeof MANIFEST_FORMAT;
  readonly export: string;
  /** Restore points, the oldest first. */
  readonly images: readonly ImageEntry[];
  /** An image that is complete, and whose backup was perhaps committed: whether it counts, the server knows. */
  readonly pending?: ImageEntry;
  /** A merge under way: the new image of that id replaces the old one, and the images it `drops` are needed no more. */
  readonly merging?: Merge;
}

export interface Merge {
  readonly image: ImageEntry;
  readonly drops: readonly string[];
}

/** Ids become names of files. */
const ID = /^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$/;
const CHECKSUM = /^xxh64-sum:[0-9a-f]{16}$/;
const byteFields = ['sizeBytes', 'dirtyBytes', 'readBytes', 'dataBytes', 'zeroBytes', 'fileBytes'] as const;

/**
 * Whether a document has the shape of a manifest. By hand: a library of schemas takes longer to load than most commands
 * need for all of their work.
 */
export function isManifest(value: unknown): value is Manifest {
  if (!isRecord<Manifest>(value)) return false;
  const { format, images, pending, merging } = value;
  return (
    format === MANIFEST_FORMAT &&
    typeof value.export === 'string' &&
    Array.isArray(images) &&
    images.every(isImage) &&
    (pending === undefined || isImage(pending)) &&
    (merging === undefined || isMerge(merging))
  );
}

/** Whether it is a manifest that another version of tidemark wrote. */
export function isOfAnotherFormat(value: unknown): boolean {
  return isRecord<Manifest>(value) && typeof value.format === 'number' && value.format !== MANIFEST_FORMAT;
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

/** Whether the fields that not every image has are as they have to be. */
function hasSoundExtras({
  origin,
  baseAsserted,
  proven,
  measured,
  damage,
}: { [Field in keyof ImageEntry]?: unknown }): boolean {
  return (
    (origin === undefined || isOrigin(origin)) &&
    [baseAsserted, proven, measured].every((flag) => flag === undefined || flag === true) &&
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

export function isRecord<Shape>(value: unknown): value is { [Field in keyof Shape]?: unknown } {
  return typeof value === 'object' && value !== null;
}

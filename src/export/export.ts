import type { DiskLocation } from '../api/backup.js';
import type { MinBlockBytes } from '../api/values.js';
import { CodedError } from '../base/coded-error.js';
import { errnoName, OK } from '../base/errno.js';
import { DIRTY_BITMAP_PREFIX } from '../base/metadata-contexts.js';
import { Turnstile } from '../base/turnstile.js';
import { formatCount, SECTOR_BYTES } from '../base/units.js';
import type { BitmapSet } from '../bitmap/bitmap-set.js';
import type { DirtyBitmap } from '../bitmap/dirty-bitmap.js';
import type { PersistentBitmaps } from '../bitmap/store/persistent-bitmaps.js';
import { TrackingDevice } from '../bitmap/tracking-device.js';
import { readBootId } from '../posix/find-disk.js';
import { CopyBeforeWrite } from '../snapshot/copy-before-write.js';
import type { BlockDevice } from '../storage/device/block-device.js';
import { WriteGate } from '../storage/device/write-gate.js';
import { PIECE_BYTES } from '../storage/permits/permit-memory.js';
import { checkWholeBlocks, DEFAULT_MIN_BLOCK_BYTES } from './block-size.js';
import type { Disk } from './disk.js';
import { type DiskShare, DiskSharing } from './elsewhere/disk-sharing.js';
import { type BitmapFacts, type ExportFacts, factsOfBitmap } from './export-facts.js';
import { DirtyBitmapContext, diskContexts, type MetadataContext } from './metadata-context.js';
import { Patience } from './patience.js';
import { QuietExport } from './quiet-export.js';
import { type ClientConnection, type GuardedAs, ServedDisk } from './served-disk.js';

export interface ExportParts {
  readonly name: string;
  readonly description: string;
  /** Where the data is. */
  readonly path: string;
  readonly readOnly: boolean;
  /** Only clients that use TLS may use it. Off if it is missing. */
  readonly needsTls?: boolean;
  readonly minBlockBytes?: MinBlockBytes | undefined;
  /** The bottom of the device stack, which the export closes. */
  readonly disk: Disk;
  readonly bitmaps: BitmapSet;
  /** Keeps the bitmaps in the store; undefined when they are only in memory. */
  readonly persistence?: PersistentBitmaps | undefined;
  /** Called after the disk is closed. */
  readonly release?: (() => void) | undefined;
  /** As in `ServedDisk`. */
  readonly latencyBounds?: readonly number[];
  /** How long a change at one instant waits for the disk. */
  readonly cutTimeoutSeconds?: number;
}

const DEFAULT_CUT_TIMEOUT_SECONDS = 5;

/**
 * A named disk served over NBD: the device stack that requests pass through (gate, copy-before-write, tracking, disk),
 * the bitmaps and the connected clients.
 */
export class Export extends ServedDisk {
  readonly name: string;
  description: string;
  readonly path: string;
  readonly readOnly: boolean;
  readonly minBlockBytes: MinBlockBytes;
  guardedAs: GuardedAs;
  readonly device: BlockDevice;
  readonly cutTimeoutSeconds: number;
  /** The bottom of the stack. */
  private readonly disk: Disk;
  /** The device to which backups attach their snapshots. */
  private readonly copyBeforeWrite: CopyBeforeWrite;
  private readonly bitmaps: BitmapSet;
  private readonly persistence: PersistentBitmaps | undefined;
  /** Admits one cut, resize or close at a time. */
  private readonly turns = new Turnstile(1);
  private readonly gate: WriteGate;
  private readonly diskContexts: readonly MetadataContext[];
  private readonly sharing: DiskSharing;
  private readonly release: (() => void) | undefined;
  private shrinking = false;

  constructor(parts: ExportParts) {
    super(parts.latencyBounds);
    this.name = parts.name;
    this.guardedAs = { exportName: parts.name, right: 'read', needsTls: parts.needsTls ?? false };
    this.description = parts.description;
    this.path = parts.path;
    this.readOnly = parts.readOnly;
    this.minBlockBytes = parts.minBlockBytes ?? DEFAULT_MIN_BLOCK_BYTES;
    this.disk = parts.disk;
    this.bitmaps = parts.bitmaps;
    this.persistence = parts.persistence;
    this.cutTimeoutSeconds = parts.cutTimeoutSeconds ?? DEFAULT_CUT_TIMEOUT_SECONDS;
    this.release = parts.release;
    const { persistence } = parts;
    const tracking = new TrackingDevice(parts.disk, persistence?.intents ?? parts.bitmaps, persistence?.activity);
    this.copyBeforeWrite = new CopyBeforeWrite(tracking);
    this.gate = new WriteGate(this.copyBeforeWrite);
    this.device = this.gate;
    this.diskContexts = diskContexts(this.gate);
    this.sharing = new DiskSharing({
      file: parts.disk.shared,
      readOnly: parts.readOnly,
      isCounted: persistence !== undefined && parts.disk.counting !== undefined,
      explain: () => persistence?.explainElsewhere(),
      gate: this.gate,
      activity: persistence?.activity,
      unitBytes: () => Math.min(parts.bitmaps.leastGranularityBytes, this.savedTogetherBytes),
    });
  }

  override contexts(): MetadataContext[] {
    const usable = this.bitmaps.list().filter((bitmap) => bitmap.inconsistent === undefined);
    return [...this.diskContexts, ...usable.map((bitmap) => new DirtyBitmapContext(this.bitmaps, bitmap))];
  }

  override context(name: string): MetadataContext | undefined {
    if (!name.startsWith(DIRTY_BITMAP_PREFIX)) return this.diskContexts.find((context) => context.name === name);
    const bitmap = this.bitmaps.find(name.slice(DIRTY_BITMAP_PREFIX.length));
    return bitmap && bitmap.inconsistent === undefined ? new DirtyBitmapContext(this.bitmaps, bitmap) : undefined;
  }

  facts(): ExportFacts {
    const { name, path, description, sizeBytes, readOnly, minBlockBytes, persistence } = this;
    const activeRegions = persistence?.intents.wholeRegions ?? 0;
    return { name, path, description, sizeBytes, readOnly, minBlockBytes, activeRegions };
  }

  /** In the order in which they were added. */
  bitmapFacts(): BitmapFacts[] {
    return this.bitmaps.list().map((bitmap) => this.factsOf(bitmap));
  }

  findBitmap(name: string): BitmapFacts | undefined {
    const bitmap = this.bitmaps.find(name);
    return bitmap && this.factsOf(bitmap);
  }

  /** @throws CodedError BITMAP_NOT_FOUND */
  getBitmap(name: string): BitmapFacts {
    return this.factsOf(this.bitmaps.get(name));
  }

  /** Bytes that hold data or may hold data. */
  async allocatedBytes(): Promise<number> {
    return Math.min((await this.disk.allocatedBytes?.()) ?? this.sizeBytes, this.sizeBytes);
  }

  /** Where other programs on this machine find the disk; undefined when they cannot. */
  async locate(): Promise<DiskLocation | undefined> {
    const identity = await this.disk.identify?.();
    if (!identity) return undefined;
    const bootId = await readBootId();
    return bootId === undefined ? undefined : { path: this.path, id: identity.id, bootId };
  }

  /** What clients are told, and need, from now on. */
  describeAs({ description, needsTls }: Pick<ExportParts, 'description'> & Pick<GuardedAs, 'needsTls'>): void {
    this.description = description;
    this.guardedAs = { ...this.guardedAs, needsTls };
  }

  /** Called once a second. */
  async tick(): Promise<void> {
    await this.persistence?.tick();
  }

  /** Makes all bitmaps inconsistent if another program has changed the disk. */
  async noticeOutsideChanges(): Promise<void> {
    await this.persistence?.noticeOutsideChanges();
  }

  /** @throws CodedError EXPORT_NOT_FOUND once the export is being closed */
  assertServed(): void {
    if (this.closing) {
      throw new CodedError('EXPORT_NOT_FOUND', `the export "${this.name}" is being closed`, 'wait until it is served');
    }
  }

  /** Flushes, unless the bitmaps are only in memory, where a power loss ends them anyway. @throws CodedError FLUSH_FAILED */
  async flushForBitmaps(): Promise<void> {
    if (this.persistence) await this.flush();
  }

  /** Runs `work` while no other cut, resize or close of this export is under way. @throws CodedError CUT_TIMED_OUT */
  inTurn<T>(work: () => Promise<T>, patience: Patience): Promise<T> {
    return patience.pass(this, this.turns, work);
  }

  /** Resolves when the writes in flight and their commits have ended. */
  async settled(): Promise<void> {
    await this.gate.settled();
    await this.persistence?.commits.idle();
  }

  /** Holds back new writes. The caller has the turn, and must resume them. */
  quiesce(): QuietExport {
    const { gate, copyBeforeWrite, disk, bitmaps, persistence } = this;
    return new QuietExport({ gate, copyBeforeWrite, disk, bitmaps, persistence });
  }

  /**
   * Changes the size of the export. A new tail is dirty in all bitmaps. Clients see the new size when they reconnect.
   * @throws CodedError IMAGE_UNUSABLE, EXPORT_INVALID, BITMAP_BUSY, EXPORT_IN_USE, STORE_UNUSABLE,
   * CUT_TIMED_OUT
   */
  resize(sizeBytes: number): Promise<void> {
    return this.turns.pass(async () => {
      this.assertServed();
      this.checkResize(sizeBytes);
      this.shrinking = sizeBytes < this.sizeBytes;
      const patience = new Patience(this.cutTimeoutSeconds);
      const quiet = this.quiesce();
      try {
        await patience.waitFor(this, quiet.drained);
        // The resize replaces the known identity of the disk, so changes by other programs must be noticed before.
        if (this.persistence) await patience.waitFor(this, this.persistence.noticeOutsideChanges());
        await this.disk.resize?.(sizeBytes);
        this.sharing.resize(sizeBytes);
        if (this.persistence) await this.persistence.resize(sizeBytes);
        else this.bitmaps.resize(sizeBytes);
      } finally {
        patience.end();
        this.shrinking = false;
        quiet.resume();
      }
    });
  }

  override share(slots: number): DiskShare | undefined {
    return this.sharing.take(slots);
  }

  /** Refuses connections while the disk shrinks, because a client that connects now has seen the old size. */
  override attach(connection: ClientConnection): boolean {
    return !this.shrinking && super.attach(connection);
  }

  /** Drains every connection, makes the data and the bitmaps durable, and releases the disk. */
  close(): Promise<void> {
    this.leave();
    return this.turns.pass(async () => {
      await this.drainConnections();
      try {
        await this.flush();
        await this.persistence?.close();
      } finally {
        await this.disk.close().finally(() => this.release?.());
      }
    });
  }

  protected override get mergedFlushes(): number | undefined {
    return this.disk.mergedFlushes;
  }

  /** A write saves the old data of all blocks of this size that it touches for all views. */
  private get savedTogetherBytes(): number {
    const { copyBeforeWrite } = this;
    if (!copyBeforeWrite.hasSnapshots) return Number.POSITIVE_INFINITY;
    return copyBeforeWrite.savesWhole(PIECE_BYTES) ? PIECE_BYTES : SECTOR_BYTES;
  }

  /** Makes the data durable. @throws CodedError FLUSH_FAILED */
  private async flush(): Promise<void> {
    if (this.readOnly) return;
    const errno = await this.device.flush();
    if (errno === OK) return;
    throw new CodedError(
      'FLUSH_FAILED',
      `the disk of "${this.name}" could not be flushed: ${errnoName(errno)}`,
      'see the log for the cause; remove the export and add it again once its storage is sound',
    );
  }

  private factsOf(bitmap: DirtyBitmap): BitmapFacts {
    return factsOfBitmap(bitmap, this.persistence?.trustIn(bitmap));
  }

  private checkResize(sizeBytes: number): void {
    checkWholeBlocks(this.name, sizeBytes, this.minBlockBytes);
    this.bitmaps.checkResize(sizeBytes);
    if (sizeBytes >= this.sizeBytes) return;
    if (this.copyBeforeWrite.hasSnapshots) {
      throw new CodedError(
        'EXPORT_IN_USE',
        `"${this.name}" cannot shrink under a backup's view`,
        'end the backup first',
      );
    }
    if (this.clientCount > 0) {
      throw new CodedError(
        'EXPORT_IN_USE',
        `"${this.name}" cannot shrink under its ${formatCount(this.clientCount, 'client')}`,
        'disconnect them first',
      );
    }
  }
}

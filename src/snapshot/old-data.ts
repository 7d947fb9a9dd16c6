import { EIO, ENOSPC, type Errno, OK, WOULD_BLOCK } from '../base/errno.js';
import type { ExtentList } from '../base/extents.js';
import { giveWay } from '../base/loop-share.js';
import { Turnstile } from '../base/turnstile.js';
import { MIB } from '../base/units.js';
import type { BlockDevice } from '../storage/device/block-device.js';
import { Copies } from './copies.js';
import { KeptData } from './kept-data.js';
import { PieceMap } from './piece-map.js';
import type { Scratch } from './scratch.js';
import type { SnapshotOptions } from './snapshot-options.js';

/** Extent status: the live disk may have new data here. */
export const OVERWRITTEN = 1;

/** Neighbouring pieces are copied together, up to this size. */
const MAX_RUN_BYTES = MIB;
/** Released scratch space that is freed in one call. */
const MAX_FREED_BYTES = 128 * MIB;
/** Takes a few hundred microseconds. */
const HOLES_PER_STEP = 64;
/** How many copies of a snapshot may hold a buffer at the same time. */
const MAX_BUFFERS = 8;

/** For copies on the event loop, which run one at a time. */
const sharedBuffer: Buffer = Buffer.allocUnsafeSlow(MAX_RUN_BYTES);

/**
 * The old data of a snapshot. Copies pieces from the live disk to scratch before they are overwritten.
 *
 * A piece goes from unsettled to settled once, when it is a hole or all zero, is released, or has been copied to
 * scratch as a whole. Writers do not touch an unsettled piece, so until then its old data is on the live disk. While a
 * copy is in flight, writers that need one of its pieces wait for it. If a writer settled the piece first, the copy
 * might read new data.
 */
export class OldData {
  readonly pieces: PieceMap;
  readonly source: BlockDevice;
  readonly scratch: Scratch;
  private readonly options: SnapshotOptions;
  private readonly kept: KeptData;
  private readonly maxRunPieces: number;
  private readonly maxFreedPieces: number;
  private readonly buffers = new Turnstile(MAX_BUFFERS);
  private readonly copies = new Copies();
  private isEnded = false;
  private brokenBy: Errno | undefined;

  constructor(options: SnapshotOptions) {
    this.options = options;
    this.source = options.source;
    this.scratch = options.scratch;
    this.pieces = new PieceMap(options.sizeBytes, options.pieceBytes);
    this.kept = new KeptData(this.pieces, options.scratch, options.budget);
    this.maxRunPieces = Math.max(1, Math.floor(MAX_RUN_BYTES / options.pieceBytes));
    this.maxFreedPieces = Math.ceil(MAX_FREED_BYTES / options.pieceBytes);
  }

  /** Bytes of data that are in scratch or on the way there. */
  get usedBytes(): number {
    return this.kept.usedBytes;
  }

  /** The view is broken or has ended: no more old data is saved, and what was saved is not valid. */
  get ended(): boolean {
    return this.isEnded;
  }

  /** Why the view is broken; undefined if it is not. */
  get failure(): Errno | undefined {
    return this.brokenBy;
  }

  end(): void {
    this.isEnded = true;
  }

  /** Saves the old data that a change of the range would destroy. The writer fails with the returned errno. */
  saveNow(offset: number, length: number): Errno | typeof WOULD_BLOCK {
    if (this.isEnded || offset >= this.pieces.sizeBytes) return OK;
    const end = this.pieces.endAt(offset + length);
    let from = this.pieces.nextUnsettled(this.pieces.indexAt(offset), end);
    if (from < 0) return OK;
    if (this.pieces.bytesIn(from, end) > MAX_RUN_BYTES) return WOULD_BLOCK;
    if (this.copies.within(from, end).length > 0) return WOULD_BLOCK;
    while (from >= 0 && !this.isEnded) {
      const errno = this.saveRunNow(from, end);
      if (errno !== OK) return errno;
      from = this.pieces.nextUnsettled(from, end);
    }
    return OK;
  }

  /** Continues after `saveNow` returned WOULD_BLOCK. */
  async save(offset: number, length: number): Promise<Errno> {
    const end = this.pieces.endAt(offset + length);
    for (let from = this.pieces.indexAt(offset), step = 1; ; step++) {
      // Settling holes never waits, and there may be a great many of them.
      if (step % HOLES_PER_STEP === 0) await giveWay();
      if (this.isEnded) return OK;
      from = this.pieces.nextUnsettled(from, end);
      if (from < 0) return OK;
      const [copy] = this.copies.within(from, from + 1);
      // If that copy fails, its pieces stay unsettled, and this writer copies them itself.
      if (copy) await copy.done;
      else {
        const errno = await this.saveRun(from, end);
        if (errno !== OK) return errno;
      }
    }
  }

  /**
   * Appends 0 where the live disk has not changed since the snapshot, and OVERWRITTEN elsewhere. Data that was read
   * from the live disk before this call is old data where the status is 0.
   */
  overwritten(offset: number, length: number, list: ExtentList): Errno {
    if (this.isEnded) return EIO;
    const end = offset + length;
    for (let position = offset; position < end; ) {
      const settled = this.pieces.isSettled(position);
      const stop = this.pieces.endOfState(settled, position, end);
      if (!list.add(stop - position, settled ? OVERWRITTEN : 0)) break;
      position = stop;
    }
    return OK;
  }

  /** Releases pieces: writers no longer copy them, and their space in scratch is freed. */
  async release(from: number, end: number): Promise<Errno> {
    this.pieces.markReleased(from, end);
    await this.copies.settled(from, end);
    for (let start = this.pieces.nextStored(from, end); start >= 0 && !this.isEnded; ) {
      const stop = Math.min(end, start + this.maxFreedPieces);
      const errno = await this.kept.free(start, stop);
      if (errno !== OK) return errno;
      start = this.pieces.nextStored(stop, end);
    }
    return OK;
  }

  async checkScratch(): Promise<void> {
    const errno = await this.scratch.lostWrites?.();
    if (errno) this.break(errno);
  }

  /** Stops saving, waits for the copies in flight, and closes scratch. */
  async close(): Promise<void> {
    this.end();
    await this.copies.settled(0, this.pieces.count);
    await this.scratch.close();
  }

  private saveRunNow(from: number, end: number): Errno | typeof WOULD_BLOCK {
    const unsettledEnd = this.pieces.unsettledEnd(from, end);
    // To read one piece takes no longer than to ask whether it is a hole.
    if (unsettledEnd - from > 1 && this.skipHole(from, unsettledEnd)) return OK;
    const stop = Math.min(unsettledEnd, from + this.maxRunPieces);
    const bytes = this.pieces.bytesIn(from, stop);
    const errno = this.source.readNow(sharedBuffer, 0, bytes, this.pieces.offsetOf(from));
    if (errno === WOULD_BLOCK) return this.skipHole(from, stop) ? OK : WOULD_BLOCK;
    const kept = errno === OK ? this.kept.keepNow(sharedBuffer, from, stop) : errno;
    return kept === OK || kept === WOULD_BLOCK ? kept : this.fail(kept);
  }

  private async saveRun(from: number, end: number): Promise<Errno> {
    const unsettledEnd = this.pieces.unsettledEnd(from, end);
    const stop = Math.min(unsettledEnd, ...this.copies.within(from, unsettledEnd).map((copy) => copy.from));
    if (this.skipHole(from, stop)) return OK;
    if (!this.kept.hasRoomFor(from)) return this.fail(ENOSPC);
    const runEnd = Math.min(stop, from + this.maxRunPieces);
    const done = this.buffers.pass(() => this.copy(from, runEnd));
    const errno = await this.copies.watch({ from, end: runEnd, done });
    return errno === OK ? OK : this.fail(errno);
  }

  /** Copies and settles pieces. Stops early when the snapshot ends, because the copy is not needed then. */
  private async copy(from: number, end: number): Promise<Errno> {
    const bytes = this.pieces.bytesIn(from, end);
    const offset = this.pieces.offsetOf(from);
    if (bytes > MAX_RUN_BYTES) return this.kept.keepWhole(from, () => this.transfer(offset, bytes));
    if (this.isEnded) return OK;
    const buffer = Buffer.allocUnsafe(bytes);
    const errno = await this.source.read(buffer, 0, bytes, offset);
    if (errno !== OK || this.isEnded) return errno;
    return this.kept.keep(buffer, from, end);
  }

  /** Copies a large piece to scratch. */
  private async transfer(offset: number, length: number): Promise<Errno> {
    const buffer = Buffer.allocUnsafe(MAX_RUN_BYTES);
    for (let done = 0; done < length && !this.isEnded; done += buffer.length) {
      const bytes = Math.min(buffer.length, length - done);
      const readErrno = await this.source.read(buffer, 0, bytes, offset + done);
      if (readErrno !== OK || this.isEnded) return readErrno;
      const writeErrno = await this.scratch.write(buffer, 0, bytes, offset + done);
      if (writeErrno !== OK) return writeErrno;
    }
    return OK;
  }

  /** Settles the hole at the start of the range; false if it does not start with one. */
  private skipHole(from: number, end: number): boolean {
    const bytes = this.pieces.bytesIn(from, end);
    const holeBytes = this.source.holeNow(this.pieces.offsetOf(from), bytes);
    const stop = holeBytes >= bytes ? end : from + this.pieces.indexAt(holeBytes);
    if (stop === from) return false;
    this.pieces.markHoles(from, stop);
    return true;
  }

  /** The errno for a writer whose copy failed: OK if the view breaks instead. */
  private fail(errno: Errno): Errno {
    if (this.isEnded) return OK;
    if (this.options.onScratchFull === 'fail-writer') return errno;
    this.break(errno);
    return OK;
  }

  private break(errno: Errno): void {
    if (this.isEnded) return;
    this.isEnded = true;
    this.brokenBy = errno;
    this.options.onFailure(errno);
  }
}

import { EIO, ENOSPC, type Errno, OK, WOULD_BLOCK } from '../base/errno.js';
import type { ExtentList } from '../base/extents.js';
import { giveWay } from '../base/loop-share.js';
import { Turnstile } from '../base/turnstile.js';
import { MIB } from '../base/units.js';
import type { BlockDevice } from '../storage/device/block-device.js';
import { Copies } from './copies.js';
import { GranuleMap } from './granule-map.js';
import type { Scratch } from './scratch.js';
import type { SnapshotOptions } from './snapshot-options.js';

/** Extent status: the live disk may have new data here. */
export const OVERWRITTEN = 1;

const MAX_PIECE_BYTES = MIB;
/** Takes a few hundred microseconds. */
const HOLES_PER_STEP = 64;
/** How many copies of a snapshot may hold a buffer at the same time. */
const MAX_BUFFERS = 8;

/** For copies on the event loop, which run one at a time. */
const sharedBuffer: Buffer = Buffer.allocUnsafeSlow(MAX_PIECE_BYTES);

/**
 * The old data of a snapshot. Copies granules from the live disk to scratch before they are overwritten.
 *
 * A granule goes from unsettled to settled once, when it is a hole, is released, or has been copied to scratch as a
 * whole. Writers do not touch an unsettled granule, so until then its old data is on the live disk. While a copy is in
 * flight, writers that need one of its granules wait for it. If a writer settled the granule first, the copy might read
 * new data.
 */
export class OldData {
  readonly granules: GranuleMap;
  readonly source: BlockDevice;
  readonly scratch: Scratch;
  private readonly options: SnapshotOptions;
  private readonly maxPieceGranules: number;
  private readonly buffers = new Turnstile(MAX_BUFFERS);
  private readonly copies = new Copies();
  private storedBytes = 0;
  private isEnded = false;
  private brokenBy: Errno | undefined;

  constructor(options: SnapshotOptions) {
    this.options = options;
    this.source = options.source;
    this.scratch = options.scratch;
    this.granules = new GranuleMap(options.sizeBytes, options.granuleBytes);
    this.maxPieceGranules = Math.max(1, Math.floor(MAX_PIECE_BYTES / options.granuleBytes));
  }

  /** Bytes of data that are in scratch or on the way there. */
  get usedBytes(): number {
    return this.storedBytes;
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
    if (this.isEnded || offset >= this.granules.sizeBytes) return OK;
    const end = this.granules.endAt(offset + length);
    let from = this.granules.nextUnsettled(this.granules.indexAt(offset), end);
    if (from < 0) return OK;
    if (this.granules.bytesIn(from, end) > MAX_PIECE_BYTES) return WOULD_BLOCK;
    if (this.copies.within(from, end).length > 0) return WOULD_BLOCK;
    while (from >= 0 && !this.isEnded) {
      const errno = this.savePieceNow(from, end);
      if (errno !== OK) return errno;
      from = this.granules.nextUnsettled(from, end);
    }
    return OK;
  }

  /** Continues after `saveNow` returned WOULD_BLOCK. */
  async save(offset: number, length: number): Promise<Errno> {
    const end = this.granules.endAt(offset + length);
    for (let from = this.granules.indexAt(offset), step = 1; ; step++) {
      // Settling holes never waits, and there may be a great many of them.
      if (step % HOLES_PER_STEP === 0) await giveWay();
      if (this.isEnded) return OK;
      from = this.granules.nextUnsettled(from, end);
      if (from < 0) return OK;
      const [copy] = this.copies.within(from, from + 1);
      // If that copy fails, its granules stay unsettled, and this writer copies them itself.
      if (copy) await copy.done;
      else {
        const errno = await this.savePiece(from, end);
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
      const place = this.granules.placeAt(position);
      const stop = this.granules.endOfPlace(place, position, end);
      if (!list.add(stop - position, place === 'source' ? 0 : OVERWRITTEN)) break;
      position = stop;
    }
    return OK;
  }

  /** Releases granules: writers no longer copy them, and their space in scratch is freed. */
  async release(from: number, end: number): Promise<Errno> {
    for (let start = this.granules.nextUnreleased(from, end); start >= 0; ) {
      const stop = this.granules.unreleasedEnd(start, end);
      this.granules.markReleased(start, stop);
      await this.copies.settled(start, stop);
      const errno = await this.free(start, stop);
      if (errno !== OK) return errno;
      start = this.granules.nextUnreleased(stop, end);
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
    await this.copies.settled(0, this.granules.count);
    await this.scratch.close();
  }

  private savePieceNow(from: number, end: number): Errno | typeof WOULD_BLOCK {
    const stop = this.granules.unsettledEnd(from, end);
    if (this.skipHole(from, stop)) return OK;
    const pieceEnd = this.dataEnd(from, stop);
    const bytes = this.granules.bytesIn(from, pieceEnd);
    if (!this.take(bytes)) return this.fail(ENOSPC);
    const errno = this.copyNow(this.granules.offsetOf(from), bytes);
    if (errno !== OK) {
      this.giveBack(bytes);
      return errno === WOULD_BLOCK ? WOULD_BLOCK : this.fail(errno);
    }
    this.granules.markStored(from, pieceEnd);
    return OK;
  }

  private copyNow(offset: number, bytes: number): Errno | typeof WOULD_BLOCK {
    const errno = this.source.readNow(sharedBuffer, 0, bytes, offset);
    return errno === OK ? this.scratch.writeNow(sharedBuffer, 0, bytes, offset) : errno;
  }

  private async savePiece(from: number, end: number): Promise<Errno> {
    const unsettledEnd = this.granules.unsettledEnd(from, end);
    const stop = Math.min(unsettledEnd, ...this.copies.within(from, unsettledEnd).map((copy) => copy.from));
    if (this.skipHole(from, stop)) return OK;
    const pieceEnd = this.dataEnd(from, stop);
    if (!this.take(this.granules.bytesIn(from, pieceEnd))) return this.fail(ENOSPC);
    const errno = await this.copies.watch({ from, end: pieceEnd, done: this.copy(from, pieceEnd) });
    return errno === OK ? OK : this.fail(errno);
  }

  /**
   * Copies and settles granules. Their bytes were taken before, so that concurrent copies keep to the limit together.
   */
  private async copy(from: number, end: number): Promise<Errno> {
    const bytes = this.granules.bytesIn(from, end);
    const errno = await this.buffers.pass(() => this.transfer(this.granules.offsetOf(from), bytes));
    if (errno === OK) this.granules.markStored(from, end);
    else this.giveBack(bytes);
    return errno;
  }

  /** Stops early when the snapshot ends, because the copy is not needed then. */
  private async transfer(offset: number, length: number): Promise<Errno> {
    const buffer = Buffer.allocUnsafe(Math.min(length, MAX_PIECE_BYTES));
    for (let done = 0; done < length && !this.isEnded; done += buffer.length) {
      const bytes = Math.min(buffer.length, length - done);
      const readErrno = await this.source.read(buffer, 0, bytes, offset + done);
      if (readErrno !== OK || this.isEnded) return readErrno;
      const writeErrno = await this.scratch.write(buffer, 0, bytes, offset + done);
      if (writeErrno !== OK) return writeErrno;
    }
    return OK;
  }

  /** Settles the holes at the start of the range; false if it does not start with one. */
  private skipHole(from: number, end: number): boolean {
    const bytes = this.granules.bytesIn(from, end);
    const holeBytes = this.source.holeNow(this.granules.offsetOf(from), bytes);
    const stop = holeBytes >= bytes ? end : from + this.granules.indexAt(holeBytes);
    if (stop === from) return false;
    this.granules.markHoles(from, stop);
    return true;
  }

  /** Where the piece that starts with data at `from` ends: at the next hole, or at the maximum size of a piece. */
  private dataEnd(from: number, end: number): number {
    const limit = Math.min(end, from + this.maxPieceGranules);
    let stop = from + 1;
    while (stop < limit && !this.isHole(stop)) stop++;
    return stop;
  }

  private isHole(index: number): boolean {
    const bytes = this.granules.bytesIn(index, index + 1);
    return this.source.holeNow(this.granules.offsetOf(index), bytes) >= bytes;
  }

  private take(bytes: number): boolean {
    const taken = this.options.budget.take(bytes);
    if (taken) this.storedBytes += bytes;
    return taken;
  }

  private giveBack(bytes: number): void {
    this.options.budget.giveBack(bytes);
    this.storedBytes -= bytes;
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

  private async free(from: number, end: number): Promise<Errno> {
    for (let start = this.granules.nextStored(from, end); start >= 0 && !this.isEnded; ) {
      const stop = this.granules.storedEnd(start, end);
      const bytes = this.granules.bytesIn(start, stop);
      const errno = await this.scratch.trim(this.granules.offsetOf(start), bytes);
      if (errno !== OK) return errno;
      this.giveBack(bytes);
      start = this.granules.nextStored(stop, end);
    }
    return OK;
  }
}

import { EIO, type Errno, OK, WOULD_BLOCK } from '../base/errno.js';
import { ExtentList } from '../base/extents.js';
import { giveWay } from '../base/loop-share.js';
import { MIB } from '../base/units.js';
import { ALLOCATION_HOLE, ALLOCATION_ZERO } from '../storage/device/block-device.js';
import { assertInside } from '../storage/device/range.js';
import type { OldData } from './old-data.js';
import type { Place } from './piece-map.js';
import { ReadOnlyDevice } from './read-only-device.js';

const HOLE = ALLOCATION_HOLE | ALLOCATION_ZERO;
const DATA = 0;

/** Takes about a millisecond if each piece is in another place than the one before. */
const EXTENTS_STEP_BYTES = 32 * MIB;

/**
 * A snapshot as a read-only disk. Settled pieces are read from scratch, the others from the live disk. A call that had
 * to wait for the live disk looks afterwards which pieces are still unsettled: only these had their old data there all
 * the time. Scratch may have been trimmed while a call waited, so it also looks what was released.
 */
export class ViewDevice extends ReadOnlyDevice {
  /** Number of reads so far. */
  reads = 0;

  constructor(private readonly old: OldData) {
    super(old.source);
  }

  get sizeBytes(): number {
    return this.old.pieces.sizeBytes;
  }

  readNow(target: Buffer, start: number, length: number, offset: number): Errno | typeof WOULD_BLOCK {
    assertInside(this.sizeBytes, offset, length);
    const end = offset + length;
    if (!this.readable(offset, end)) return EIO;
    const { pieces } = this.old;
    for (let position = offset; position < end; ) {
      const place = pieces.placeAt(position);
      const stop = pieces.endOfPlace(place, position, end);
      const errno = this.readPlaceNow(place, target, start + position - offset, stop - position, position);
      if (errno !== OK) return errno;
      position = stop;
    }
    this.reads++;
    return OK;
  }

  async read(target: Buffer, start: number, length: number, offset: number): Promise<Errno> {
    assertInside(this.sizeBytes, offset, length);
    this.reads++;
    const end = offset + length;
    if (!this.readable(offset, end)) return EIO;
    // Settled pieces come second, because a piece may be settled while the live disk is read.
    const errno =
      (await this.readLive(target, start, offset, end)) || (await this.readSettled(target, start, offset, end));
    if (errno !== OK) return errno;
    return this.readable(offset, end) ? OK : EIO;
  }

  holeNow(offset: number, length: number): number {
    assertInside(this.sizeBytes, offset, length);
    if (this.old.ended) return 0;
    const { pieces, source } = this.old;
    const end = offset + length;
    let position = offset;
    while (position < end) {
      const place = pieces.placeAt(position);
      if (place === 'scratch' || place === 'released') break;
      const stop = pieces.endOfPlace(place, position, end);
      position = place === 'hole' ? stop : position + source.holeNow(position, stop - position);
      if (position < stop) break;
    }
    return position - offset;
  }

  async extents(offset: number, length: number, list: ExtentList): Promise<Errno> {
    assertInside(this.sizeBytes, offset, length);
    const end = offset + length;
    for (let position = offset; position < end; ) {
      if (this.old.ended) return EIO;
      const stop = this.extentsStep(position, end);
      const live = new ExtentList(list.limit);
      const errno = await this.liveExtents(position, stop, live);
      if (errno !== OK) return errno;
      if (!this.addOld(list, live, position)) break;
      if (position + live.totalBytes < stop && list.count === list.limit) break;
      position += live.totalBytes;
      await giveWay();
    }
    return this.old.ended ? EIO : OK;
  }

  private readable(offset: number, end: number): boolean {
    return !this.old.ended && !this.old.pieces.anyReleased(offset, end);
  }

  private readPlaceNow(
    place: Place,
    target: Buffer,
    start: number,
    length: number,
    offset: number,
  ): Errno | typeof WOULD_BLOCK {
    switch (place) {
      case 'source':
        return this.old.source.readNow(target, start, length, offset);
      case 'scratch':
        return this.old.scratch.readNow(target, start, length, offset);
      case 'hole':
        target.fill(0, start, start + length);
        return OK;
      case 'released':
        return EIO;
    }
  }

  /** Reads at least the unsettled pieces. */
  private async readLive(target: Buffer, start: number, offset: number, end: number): Promise<Errno> {
    const { pieces, source } = this.old;
    const first = pieces.isSettled(offset) ? pieces.endOfState(true, offset, end) : offset;
    if (first === end) return OK;
    // One call is quicker than one for each run, even if some of its data is not needed.
    const errno = await source.read(target, start + first - offset, end - first, first);
    if (errno === OK) return OK;
    // The error may be in a settled piece, which does not need to be read here.
    for (let position = first; position < end; ) {
      const settled = pieces.isSettled(position);
      const stop = pieces.endOfState(settled, position, end);
      const failed = settled ? OK : await source.read(target, start + position - offset, stop - position, position);
      if (failed !== OK) return failed;
      position = stop;
    }
    return OK;
  }

  /** Reads the settled pieces. */
  private async readSettled(target: Buffer, start: number, offset: number, end: number): Promise<Errno> {
    const { pieces, scratch } = this.old;
    for (let position = offset; position < end; ) {
      const place = pieces.placeAt(position);
      const stop = pieces.endOfPlace(place, position, end);
      if (place !== 'source') {
        const at = start + position - offset;
        const now = this.readPlaceNow(place, target, at, stop - position, position);
        const errno = now === WOULD_BLOCK ? await scratch.read(target, at, stop - position, position) : now;
        if (errno !== OK) return errno;
      }
      position = stop;
    }
    return OK;
  }

  /** Where a step of an allocation query ends. */
  private extentsStep(offset: number, end: number): number {
    const { pieces } = this.old;
    const stop = Math.min(offset + EXTENTS_STEP_BYTES, end);
    return pieces.isSettled(offset) ? stop : Math.max(stop, pieces.endOfState(false, offset, end));
  }

  /** The allocation of the live disk, which counts for unsettled pieces only. */
  private async liveExtents(offset: number, end: number, list: ExtentList): Promise<Errno> {
    const { pieces, source } = this.old;
    const allSettled = pieces.isSettled(offset) && pieces.endOfState(true, offset, end) === end;
    if (!allSettled) return source.extents(offset, end - offset, list);
    list.add(end - offset, DATA);
    return OK;
  }

  /**
   * Appends the old allocation, given that of the live disk from `offset` on, which holds for the pieces that are still
   * unsettled. False if the list is full.
   */
  private addOld(list: ExtentList, live: ExtentList, offset: number): boolean {
    const { pieces } = this.old;
    let position = offset;
    for (let i = 0; i < live.count; i++) {
      const end = position + live.lengths[i]!;
      while (position < end) {
        const place = pieces.placeAt(position);
        const stop = pieces.endOfPlace(place, position, end);
        if (!list.add(stop - position, place === 'source' ? live.statuses[i]! : oldStatus(place))) return false;
        position = stop;
      }
    }
    return true;
  }
}

/** Data is always a safe answer where the old allocation is lost. */
function oldStatus(place: Place): number {
  return place === 'hole' ? HOLE : DATA;
}

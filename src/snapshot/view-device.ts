import { EIO, type Errno, OK, type WOULD_BLOCK } from '../base/errno.js';
import { ExtentList } from '../base/extents.js';
import { giveWay } from '../base/loop-share.js';
import type { BlockDevice } from '../storage/device/block-device.js';
import { assertInside } from '../storage/device/range.js';
import type { Place } from './granule-map.js';
import type { OldData } from './old-data.js';
import { ReadOnlyDevice } from './read-only-device.js';

const DATA = 0;

/** Takes a few hundred microseconds. */
const RUNS_PER_STEP = 64;

/**
 * A snapshot as a read-only disk. Saved granules are read from scratch, the others from the live disk. A call that had
 * to wait checks again where its range is: if a granule was saved in the meantime, the live disk may already have new
 * data, and if one was released, scratch may have been trimmed.
 */
export class ViewDevice extends ReadOnlyDevice {
  /** Number of reads so far. */
  reads = 0;

  constructor(private readonly old: OldData) {
    super(old.source);
  }

  get sizeBytes(): number {
    return this.old.granules.sizeBytes;
  }

  readNow(target: Buffer, start: number, length: number, offset: number): Errno | typeof WOULD_BLOCK {
    assertInside(this.sizeBytes, offset, length);
    const { granules } = this.old;
    const end = offset + length;
    for (let position = offset; position < end; ) {
      const place = granules.placeAt(position);
      if (!this.readable(place)) return EIO;
      const stop = granules.endOfPlace(place, position, end);
      const errno = this.deviceOf(place).readNow(target, start + position - offset, stop - position, position);
      if (errno !== OK) return errno;
      position = stop;
    }
    this.reads++;
    return OK;
  }

  async read(target: Buffer, start: number, length: number, offset: number): Promise<Errno> {
    assertInside(this.sizeBytes, offset, length);
    this.reads++;
    const { granules } = this.old;
    const end = offset + length;
    for (let position = offset; position < end; ) {
      const place = granules.placeAt(position);
      if (!this.readable(place)) return EIO;
      const stop = granules.endOfPlace(place, position, end);
      const errno = await this.deviceOf(place).read(target, start + position - offset, stop - position, position);
      if (errno !== OK) return errno;
      position = granules.endOfPlace(place, position, stop);
    }
    return this.old.ended ? EIO : OK;
  }

  holeNow(offset: number, length: number): number {
    assertInside(this.sizeBytes, offset, length);
    const { granules } = this.old;
    const end = offset + length;
    let position = offset;
    while (position < end) {
      const place = granules.placeAt(position);
      if (!this.readable(place)) break;
      const stop = granules.endOfPlace(place, position, end);
      const holeBytes = this.deviceOf(place).holeNow(position, stop - position);
      position += holeBytes;
      if (position < stop) break;
    }
    return position - offset;
  }

  async extents(offset: number, length: number, list: ExtentList): Promise<Errno> {
    assertInside(this.sizeBytes, offset, length);
    const { granules } = this.old;
    const end = offset + length;
    for (let position = offset, step = 1; position < end; step++) {
      if (this.old.ended) return EIO;
      const place = granules.placeAt(position);
      const stop = granules.endOfPlace(place, position, end);
      const part = new ExtentList(list.limit);
      const errno = await this.extentsIn(place, position, stop - position, part);
      if (errno !== OK) return errno;
      const validEnd = granules.endOfPlace(place, position, stop);
      if (validEnd > position) {
        const full = position + part.totalBytes < validEnd;
        part.trimTo(validEnd - position);
        position += part.totalBytes;
        if (!appendAll(list, part) || full) break;
      }
      if (step % RUNS_PER_STEP === 0) await giveWay();
    }
    return this.old.ended ? EIO : OK;
  }

  private readable(place: Place): boolean {
    return place !== 'released' && !this.old.ended;
  }

  private deviceOf(place: Place): BlockDevice {
    return place === 'source' ? this.old.source : this.old.scratch;
  }

  private async extentsIn(place: Place, offset: number, length: number, part: ExtentList): Promise<Errno> {
    if (place !== 'released') return this.deviceOf(place).extents(offset, length, part);
    // The old allocation is lost. Data is always a safe answer.
    part.add(length, DATA);
    return OK;
  }
}

/** False if the list is full before all of `part` is appended. */
function appendAll(list: ExtentList, part: ExtentList): boolean {
  return part.lengths.every((length, index) => list.add(length, part.statuses[index]!));
}

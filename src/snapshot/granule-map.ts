import { BitArray, orEnd } from '../base/bit-array.js';

/** Where a view finds a granule: on the live disk, in scratch, or nowhere because it was released. */
export type Place = 'source' | 'scratch' | 'released';

/**
 * The state of each granule of a snapshot. Indexes count granules, and ranges are half-open. The last granule may be
 * shorter, because it ends with the snapshot.
 */
export class GranuleMap {
  readonly count: number;
  /** Writers can overwrite the granule: its old data is in scratch, was a hole, or was released. */
  private readonly settled: BitArray;
  /** Scratch holds data of the granule. */
  private readonly stored: BitArray;
  private readonly released: BitArray;

  constructor(
    readonly sizeBytes: number,
    readonly granuleBytes: number,
  ) {
    this.count = Math.ceil(sizeBytes / granuleBytes);
    this.settled = new BitArray(this.count);
    this.stored = new BitArray(this.count);
    this.released = new BitArray(this.count);
  }

  offsetOf(index: number): number {
    return Math.min(index * this.granuleBytes, this.sizeBytes);
  }

  bytesIn(from: number, end: number): number {
    return this.offsetOf(end) - this.offsetOf(from);
  }

  /** The granule that contains the byte at `offset`. */
  indexAt(offset: number): number {
    return Math.floor(offset / this.granuleBytes);
  }

  /** The first granule that contains no byte before `offset`. */
  endAt(offset: number): number {
    return Math.min(Math.ceil(offset / this.granuleBytes), this.count);
  }

  /** The granules that lie wholly inside the range; none if `from` is not less than `end`. */
  inside(offset: number, length: number): { from: number; end: number } {
    const stop = offset + length;
    return { from: this.endAt(offset), end: stop >= this.sizeBytes ? this.count : this.indexAt(stop) };
  }

  nextUnsettled(from: number, end: number): number {
    return this.settled.nextClear(from, end);
  }

  /** Where the run of unsettled granules that starts at `from` ends. */
  unsettledEnd(from: number, end: number): number {
    return orEnd(this.settled.nextSet(from, end), end);
  }

  nextUnreleased(from: number, end: number): number {
    return this.released.nextClear(from, end);
  }

  unreleasedEnd(from: number, end: number): number {
    return orEnd(this.released.nextSet(from, end), end);
  }

  nextStored(from: number, end: number): number {
    return this.stored.nextSet(from, end);
  }

  storedEnd(from: number, end: number): number {
    return orEnd(this.stored.nextClear(from, end), end);
  }

  /** The data of these granules is now in scratch. */
  markStored(from: number, end: number): void {
    this.stored.setRange(from, end);
    this.settled.setRange(from, end);
  }

  /** These granules are holes on the live disk. They are holes in scratch too, so they need no copy. */
  markHoles(from: number, end: number): void {
    this.settled.setRange(from, end);
  }

  markReleased(from: number, end: number): void {
    this.released.setRange(from, end);
    this.settled.setRange(from, end);
  }

  placeAt(offset: number): Place {
    const index = this.indexAt(offset);
    if (this.released.nextSet(index, index + 1) >= 0) return 'released';
    return this.settled.nextSet(index, index + 1) >= 0 ? 'scratch' : 'source';
  }

  /** The first offset from `offset` up to `end` that is in another place; `end` if there is none. */
  endOfPlace(place: Place, offset: number, end: number): number {
    const from = this.indexAt(offset);
    const stop = this.placeEnd(place, from, this.endAt(end));
    return Math.max(offset, Math.min(this.offsetOf(stop), end));
  }

  private placeEnd(place: Place, from: number, end: number): number {
    switch (place) {
      case 'source':
        return this.unsettledEnd(from, end);
      case 'scratch':
        return this.unreleasedEnd(from, orEnd(this.settled.nextClear(from, end), end));
      case 'released':
        return orEnd(this.released.nextClear(from, end), end);
    }
  }
}

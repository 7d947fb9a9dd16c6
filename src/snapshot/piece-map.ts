import { orEnd } from '../base/bit-array.js';
import { PieceBits } from './piece-bits.js';

/** How many pieces to search in one set before the other: 16 GiB of a disk in pieces of 4 KiB. */
const SEARCHED_TOGETHER = 2 ** 22;

/**
 * Where a view finds a piece: on the live disk, in scratch, or nowhere, because it was a hole or because it was
 * released.
 */
export type Place = 'source' | 'scratch' | 'hole' | 'released';

/**
 * The state of each piece of a snapshot. Indexes count pieces, and ranges are half-open. The last piece may be shorter,
 * because it ends with the snapshot.
 *
 * A piece goes from unsettled to settled once, and only after its old data can be read without the live disk. So
 * whoever finds a piece settled may overwrite it, and whoever finds it unsettled after reading it from the live disk
 * has read its old data.
 */
export class PieceMap {
  readonly count: number;
  /** Writers can overwrite the piece: its old data is in scratch, was a hole, or was released. */
  private readonly settled: PieceBits;
  /** Scratch holds data of the piece. */
  private readonly stored: PieceBits;
  private readonly released: PieceBits;

  constructor(
    readonly sizeBytes: number,
    readonly pieceBytes: number,
  ) {
    this.count = Math.ceil(sizeBytes / pieceBytes);
    this.settled = new PieceBits(this.count);
    this.stored = new PieceBits(this.count);
    this.released = new PieceBits(this.count);
  }

  offsetOf(index: number): number {
    return Math.min(index * this.pieceBytes, this.sizeBytes);
  }

  bytesIn(from: number, end: number): number {
    return this.offsetOf(end) - this.offsetOf(from);
  }

  /** The piece that contains the byte at `offset`. */
  indexAt(offset: number): number {
    return Math.floor(offset / this.pieceBytes);
  }

  /** The first piece that contains no byte before `offset`. */
  endAt(offset: number): number {
    return Math.min(Math.ceil(offset / this.pieceBytes), this.count);
  }

  /** The pieces that lie wholly inside the range; none if `from` is not less than `end`. */
  inside(offset: number, length: number): { from: number; end: number } {
    const stop = offset + length;
    return { from: this.endAt(offset), end: stop >= this.sizeBytes ? this.count : this.indexAt(stop) };
  }

  nextUnsettled(from: number, end: number): number {
    return this.settled.nextClear(from, end);
  }

  /** Where the run of unsettled pieces that starts at `from` ends. */
  unsettledEnd(from: number, end: number): number {
    return orEnd(this.settled.nextSet(from, end), end);
  }

  nextStored(from: number, end: number): number {
    return this.stored.nextSet(from, end);
  }

  /** The data of these pieces is now in scratch. */
  markStored(from: number, end: number): void {
    this.stored.setRange(from, end);
    this.settled.setRange(from, end);
  }

  /** These pieces read as zeroes. They are holes in scratch too, so they need no copy. */
  markHoles(from: number, end: number): void {
    this.settled.setRange(from, end);
  }

  markReleased(from: number, end: number): void {
    this.released.setRange(from, end);
    this.settled.setRange(from, end);
  }

  /** For released pieces whose data is about to be removed from scratch. Returns how many bytes that is. */
  forgetStored(from: number, end: number): number {
    const last = this.count - 1;
    const missingBytes =
      end > last && this.stored.has(last) ? this.offsetOf(last) + this.pieceBytes - this.sizeBytes : 0;
    return this.stored.clearRange(from, end) * this.pieceBytes - missingBytes;
  }

  anyReleased(offset: number, end: number): boolean {
    return this.released.nextSet(this.indexAt(offset), this.endAt(end)) >= 0;
  }

  isSettled(offset: number): boolean {
    return this.settled.has(this.indexAt(offset));
  }

  /** The first offset from `offset` up to `end` that is not equally settled; `end` if there is none. */
  endOfState(settled: boolean, offset: number, end: number): number {
    const from = this.indexAt(offset);
    const stop = this.endAt(end);
    const found = settled ? this.settled.nextClear(from, stop) : this.settled.nextSet(from, stop);
    return Math.min(this.offsetOf(orEnd(found, stop)), end);
  }

  placeAt(offset: number): Place {
    const index = this.indexAt(offset);
    if (!this.settled.has(index)) return 'source';
    if (this.released.has(index)) return 'released';
    return this.stored.has(index) ? 'scratch' : 'hole';
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
      case 'released':
        return orEnd(this.released.nextClear(from, end), end);
      case 'scratch':
        return this.unreleasedEnd(from, orEnd(this.stored.nextClear(from, end), end));
      case 'hole':
        return this.unreleasedEnd(from, this.holeEnd(from, end));
    }
  }

  private unreleasedEnd(from: number, end: number): number {
    return orEnd(this.released.nextSet(from, end), end);
  }

  /** Searches both sets together, because one of them may have what it looks for only at the end of the disk. */
  private holeEnd(from: number, end: number): number {
    for (let at = from; at < end; at += SEARCHED_TOGETHER) {
      const until = Math.min(at + SEARCHED_TOGETHER, end);
      const stop = orEnd(this.settled.nextClear(at, until), until);
      const found = orEnd(this.stored.nextSet(at, stop), stop);
      if (found < until) return found;
    }
    return end;
  }
}

import type { ByteRange } from './stored-bitmaps.js';

/** First byte of the value of a mark. */
const WHOLE = 1;
const PIECES = 2;
/** Of the first byte, and of the second, which is the binary logarithm of a piece's size. */
const HEADER_BYTES = 2;
/** So a value has at most 514 bytes, and a commit with many marks stays small. */
const MAX_PIECES = 4096;
const LEAST_PIECE_BYTES = 512;

/**
 * What is named in the mark of a region: the whole region, or some of its pieces. Only that counts as dirty after a
 * crash. Pieces have the size of a power of two. Ranges are in bytes from the start of the region, [from, end).
 */
export class RegionMark {
  /** A mark of no piece. Pieces have the size of a granule, or more in a region that has very many. */
  static empty(regionBytes: number, granularityBytes: number): RegionMark {
    const least = 2 ** Math.ceil(Math.log2(regionBytes / MAX_PIECES));
    const pieceBytes = Math.max(granularityBytes, least, LEAST_PIECE_BYTES);
    return pieceBytes < regionBytes ? new RegionMark(regionBytes, pieceBytes) : RegionMark.whole(regionBytes);
  }

  static whole(regionBytes: number): RegionMark {
    const mark = new RegionMark(regionBytes, regionBytes);
    mark.nameAll();
    return mark;
  }

  /** A value that cannot be read names the whole region, as `[1]` does. */
  static decode(value: Buffer | undefined, regionBytes: number): RegionMark {
    const pieceBytes = 2 ** (value?.[1] ?? 0);
    const isReadable = value?.[0] === PIECES && pieceBytes >= LEAST_PIECE_BYTES && pieceBytes < regionBytes;
    if (!isReadable) return RegionMark.whole(regionBytes);
    const mark = new RegionMark(regionBytes, pieceBytes);
    if (value.length !== HEADER_BYTES + mark.bits!.length) return RegionMark.whole(regionBytes);
    mark.bits!.set(value.subarray(HEADER_BYTES));
    return mark;
  }

  /** A bit for each piece; undefined when the whole region is named. */
  private bits: Uint8Array | undefined;

  private constructor(
    private readonly regionBytes: number,
    private readonly pieceBytes: number,
  ) {
    this.bits = new Uint8Array(Math.ceil(this.pieces / 8));
  }

  get isWhole(): boolean {
    return this.bits === undefined;
  }

  nameAll(): void {
    this.bits = undefined;
  }

  /** Names every piece that the range touches. */
  name(from: number, end: number): void {
    if (from <= 0 && end >= this.regionBytes) this.nameAll();
    if (!this.bits) return;
    const last = Math.floor((end - 1) / this.pieceBytes);
    for (let piece = Math.floor(from / this.pieceBytes); piece <= last; piece++) {
      this.bits[piece >> 3]! |= 1 << (piece & 7);
    }
  }

  /** Whether every piece that the range touches is named. */
  covers(from: number, end: number): boolean {
    if (!this.bits) return true;
    const last = Math.floor((end - 1) / this.pieceBytes);
    for (let piece = Math.floor(from / this.pieceBytes); piece <= last; piece++) {
      if (!this.names(piece)) return false;
    }
    return true;
  }

  /** What this mark and another one of the same region name. Their pieces may differ in size. */
  with(other: RegionMark): RegionMark {
    const both = new RegionMark(this.regionBytes, this.pieceBytes);
    if (!this.bits || other.isWhole) both.nameAll();
    else {
      both.bits!.set(this.bits);
      for (const { offset, length } of other.ranges()) both.name(offset, offset + length);
    }
    return both;
  }

  /** What is named, as ranges in order. */
  *ranges(): Iterable<ByteRange> {
    const { pieces, pieceBytes, regionBytes } = this;
    for (let piece = 0; piece < pieces; piece++) {
      if (!this.names(piece)) continue;
      const first = piece;
      while (piece + 1 < pieces && this.names(piece + 1)) piece++;
      const offset = first * pieceBytes;
      yield { offset, length: Math.min((piece + 1) * pieceBytes, regionBytes) - offset };
    }
  }

  /** What is named before this length: the last region of a disk may be shorter than others. */
  *within(length: number): Iterable<ByteRange> {
    for (const part of this.ranges()) {
      if (part.offset < length) yield { offset: part.offset, length: Math.min(part.length, length - part.offset) };
    }
  }

  /** The value for the store. */
  encode(): Buffer {
    if (!this.bits) return Buffer.from([WHOLE]);
    return Buffer.concat([Buffer.from([PIECES, Math.log2(this.pieceBytes)]), this.bits]);
  }

  private get pieces(): number {
    return Math.ceil(this.regionBytes / this.pieceBytes);
  }

  private names(piece: number): boolean {
    return !this.bits || (this.bits[piece >> 3]! & (1 << (piece & 7))) !== 0;
  }
}

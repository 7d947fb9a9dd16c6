import { EIO, type Errno, OK, type WOULD_BLOCK } from '../base/errno.js';
import type { ExtentList } from '../base/extents.js';
import type { BlockDevice } from '../storage/device/block-device.js';
import { PieceMap } from './piece-map.js';
import type { PointInTime } from './point-in-time.js';
import { ReadOnlyDevice } from './read-only-device.js';

/** A clone of an image, made when nothing was written to it. Needs no scratch space, and nothing can break it. */
export class ClonedDisk extends ReadOnlyDevice implements PointInTime {
  readonly device = this;
  readonly usedBytes = 0;
  readonly failure = undefined;
  reads = 0;
  private readonly pieces: PieceMap;
  private ended = false;

  /** `clone` is closed together with this. */
  constructor(
    private readonly clone: BlockDevice,
    pieceBytes: number,
  ) {
    super(clone);
    this.pieces = new PieceMap(clone.sizeBytes, pieceBytes);
  }

  get sizeBytes(): number {
    return this.clone.sizeBytes;
  }

  readNow(target: Buffer, start: number, length: number, offset: number): Errno | typeof WOULD_BLOCK {
    if (!this.readable(offset, length)) return EIO;
    const errno = this.clone.readNow(target, start, length, offset);
    if (errno === OK) this.reads++;
    return errno;
  }

  async read(target: Buffer, start: number, length: number, offset: number): Promise<Errno> {
    this.reads++;
    if (!this.readable(offset, length)) return EIO;
    const errno = await this.clone.read(target, start, length, offset);
    return this.ended ? EIO : errno;
  }

  holeNow(offset: number, length: number): number {
    return this.readable(offset, length) ? this.clone.holeNow(offset, length) : 0;
  }

  async extents(offset: number, length: number, list: ExtentList): Promise<Errno> {
    if (this.ended) return EIO;
    const errno = await this.clone.extents(offset, length, list);
    return this.ended ? EIO : errno;
  }

  async release(offset: number, length: number): Promise<Errno> {
    if (this.ended) return EIO;
    const { from, end } = this.pieces.inside(offset, length);
    this.pieces.markReleased(from, end);
    return OK;
  }

  async checkScratch(): Promise<void> {}

  override async close(): Promise<void> {
    if (this.ended) return;
    this.ended = true;
    await this.clone.close();
  }

  private readable(offset: number, length: number): boolean {
    return !this.ended && !this.pieces.anyReleased(offset, offset + length);
  }
}

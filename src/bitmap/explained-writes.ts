import { KIB, SECTOR_BYTES } from '../base/units.js';

/**
 * The kernel writes whole blocks of the page cache back, of at most a page. 64-bit machines of other kinds may have
 * pages of 64 KiB.
 */
const BLOCK_BYTES = process.arch === 'x64' ? 4 * KIB : 64 * KIB;
const BLOCK_SECTORS = BLOCK_BYTES / SECTOR_BYTES;

/**
 * The highest number of written and discarded sectors that the kernel may have counted for a block device if only this
 * server writes to it. A higher count shows that another program has written.
 *
 * The kernel counts a write when it reaches the device: once for several writes to the same block in the page cache,
 * and not at all before it is written back. So the limit is too high by what was overwritten in the cache. A flush
 * corrects that: the kernel has counted everything that ended before the flush began.
 */
export class ExplainedWrites {
  /** All sectors handed to the device so far, those of the changes that ended, and those that a flush covers. */
  private handed = 0;
  private ended = 0;
  private flushed = 0;

  /** `cell` holds the limit as its only element. The kernel's count is `counted` now, and nothing is in flight. */
  constructor(
    private cell: Float64Array,
    counted: number,
  ) {
    this.restart(counted);
  }

  /** Lets go of the memory that was given. */
  detach(): void {
    this.cell = Float64Array.of(this.limit);
  }

  get limit(): number {
    return this.cell[0]!;
  }

  /** Call it before a change is handed to the device. Returns the sectors of the change. */
  began(offset: number, length: number): number {
    const first = Math.floor(offset / BLOCK_BYTES);
    const sectors = (Math.ceil((offset + length) / BLOCK_BYTES) - first) * BLOCK_SECTORS;
    this.handed += sectors;
    this.cell[0] = this.cell[0]! + sectors;
    return sectors;
  }

  /** The change has reached the page cache or the device, as far as it ever will. */
  over(sectors: number): void {
    this.ended += sectors;
  }

  /** The device did not take the change. */
  refused(sectors: number): void {
    this.handed -= sectors;
    this.cell[0] = this.cell[0]! - sectors;
  }

  /** A flush begins; call the function returned when it has succeeded. */
  flushing(): () => void {
    const covered = this.ended;
    return () => {
      this.flushed = Math.max(this.flushed, covered);
    };
  }

  /**
   * Compares the kernel's count, which `read` reads, with the limit, and lowers the limit to that count plus all that no
   * flush covered before the reading. False if another program has written.
   */
  async compare(read: () => Promise<number | undefined>): Promise<boolean> {
    const covered = this.flushed;
    const counted = await read();
    if (counted === undefined) return true;
    const isExplained = counted <= this.limit;
    this.cell[0] = Math.min(this.limit, counted + this.handed - covered);
    return isExplained;
  }

  /** The kernel's count is `counted`, and everything was written back. */
  restart(counted: number): void {
    this.flushed = this.ended;
    this.cell[0] = counted + this.handed - this.ended;
  }
}

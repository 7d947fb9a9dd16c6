import { KIB, SECTOR_BYTES } from '../base/units.js';
import type { CountingFacts } from '../storage/image/write-counters.js';

/**
 * The kernel writes whole blocks of the page cache back, of at most a page, unless the device has larger blocks. 64-bit
 * machines of other kinds may have pages of 64 KiB.
 */
const MOST_PAGE_BYTES = process.arch === 'x64' ? 4 * KIB : 64 * KIB;

/**
 * How often the kernel may count a range while it is zeroed: for a hole that the device refuses, for a range of zeroes
 * that it refuses, and for zeroes that are written instead.
 */
const COUNTS_OF_ZEROING = 3;

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
  private readonly blockBytes: number;

  /** `cell` holds the limit as its only element. The kernel's count is `counted` now, and nothing is in flight. */
  constructor(
    private cell: Float64Array,
    counted: number,
    private readonly counting: CountingFacts,
  ) {
    this.blockBytes = Math.max(MOST_PAGE_BYTES, counting.blockBytes);
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
    return this.hand(this.blockBytesOf(offset, length) + this.neighbourBytesOf(offset, length));
  }

  /** The same for zeroing. The blocks in which the range begins and ends may have to be written besides. */
  beganZeroing(offset: number, length: number): number {
    const bytes = this.blockBytesOf(offset, length) + this.neighbourBytesOf(offset, length);
    return this.hand(COUNTS_OF_ZEROING * bytes + 2 * this.blockBytes);
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

  private blockBytesOf(offset: number, length: number): number {
    const { blockBytes } = this;
    return (Math.ceil((offset + length) / blockBytes) - Math.floor(offset / blockBytes)) * blockBytes;
  }

  /** What may be counted besides, because it was written to a neighbouring partition in one request with this change. */
  private neighbourBytesOf(offset: number, length: number): number {
    const { partition } = this.counting;
    if (!partition) return 0;
    const isAtBorder = offset < this.blockBytes || offset + length > partition.sizeBytes - this.blockBytes;
    return isAtBorder ? partition.requestBytes : 0;
  }

  private hand(bytes: number): number {
    const sectors = bytes / SECTOR_BYTES;
    this.handed += sectors;
    this.cell[0] = this.cell[0]! + sectors;
    return sectors;
  }
}

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

/** Index of the part of the limit that belongs to the owner of the disk. */
const OWN = 0;

/**
 * What all threads share. The sum of `parts` is the limit. Each thread adds what it hands to the device to its part,
 * and what has ended of that to its number in `ended`. The owner corrects the limit in its own part.
 */
export interface ExplainedMemory {
  readonly parts: Float64Array;
  readonly ended: Float64Array;
}

/** The place in the memory of a thread that does not own the disk. */
export function placeOf(slot: number): number {
  return OWN + 1 + slot;
}

/** How many sectors the kernel may count for a change, at most. */
class SectorsOf {
  private readonly blockBytes: number;

  constructor(private readonly counting: CountingFacts) {
    this.blockBytes = Math.max(MOST_PAGE_BYTES, counting.blockBytes);
  }

  write(offset: number, length: number): number {
    return (this.blockBytesOf(offset, length) + this.neighbourBytesOf(offset, length)) / SECTOR_BYTES;
  }

  /** The blocks in which the range begins and ends may have to be written besides. */
  zeroing(offset: number, length: number): number {
    return COUNTS_OF_ZEROING * this.write(offset, length) + (2 * this.blockBytes) / SECTOR_BYTES;
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
}

/** The writes of one thread. */
export class HandedWrites {
  protected readonly sectors: SectorsOf;

  constructor(
    protected memory: ExplainedMemory,
    counting: CountingFacts,
    /** The thread's place in the memory. */
    private readonly index: number,
  ) {
    this.sectors = new SectorsOf(counting);
  }

  /** Call it before a change is handed to the device. Returns the sectors of the change. */
  began(offset: number, length: number): number {
    return this.hand(this.sectors.write(offset, length));
  }

  /** The change has reached the page cache or the device, as far as it ever will. */
  over(sectors: number): void {
    add(this.memory.ended, this.index, sectors);
  }

  /** The device did not take the change. */
  refused(sectors: number): void {
    this.hand(-sectors);
  }

  protected hand(sectors: number): number {
    add(this.memory.parts, this.index, sectors);
    return sectors;
  }
}

/**
 * The highest number of written and discarded sectors that the kernel may have counted for a block device if only this
 * server writes to it. A higher count shows that another program has written.
 *
 * The kernel counts a write when it reaches the device: once for several writes to the same block in the page cache,
 * and not at all before it is written back. So the limit is too high by what was overwritten in the cache. A flush
 * corrects that: the kernel has counted everything that ended before the flush began.
 */
export class ExplainedWrites extends HandedWrites {
  /** All sectors that this thread has handed to the device so far, and those of all threads that a flush covers. */
  private handed = 0;
  private flushed = 0;

  /** The kernel's count is `counted` now, and nothing is in flight. */
  constructor(memory: ExplainedMemory, counted: number, counting: CountingFacts) {
    super(memory, counting, OWN);
    this.restart(counted);
  }

  /** Lets go of the memory that was given. */
  detach(): void {
    const { parts, ended } = this.memory;
    this.memory = { parts: parts.slice(), ended: ended.slice() };
  }

  get limit(): number {
    return sumOf(this.memory.parts);
  }

  /** As `began`, for zeroing. */
  beganZeroing(offset: number, length: number): number {
    return this.hand(this.sectors.zeroing(offset, length));
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
    this.lowerTo(Math.min(this.memory.parts[OWN]!, counted + this.handed - covered));
    return isExplained;
  }

  /** The kernel's count is `counted`, and everything that ended before was written back. */
  restart(counted: number): void {
    this.flushed = this.ended;
    this.lowerTo(counted + this.handed - this.flushed);
  }

  /** The thread has ended, and none of its writes is under way. */
  threadEnded(index: number): void {
    const { parts, ended } = this.memory;
    ended[index] = parts[index]!;
  }

  /** In all threads. What other threads have handed over is in their parts of the limit. */
  private get ended(): number {
    return sumOf(this.memory.ended);
  }

  protected override hand(sectors: number): number {
    this.handed += sectors;
    return super.hand(sectors);
  }

  private lowerTo(ownPart: number): void {
    this.memory.parts[OWN] = ownPart;
  }
}

function add(numbers: Float64Array, index: number, more: number): void {
  numbers[index] = numbers[index]! + more;
}

function sumOf(numbers: Float64Array): number {
  return numbers.reduce((sum, number) => sum + number, 0);
}

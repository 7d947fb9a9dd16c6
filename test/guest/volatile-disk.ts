import { setTimeout as delay } from 'node:timers/promises';
import { type Errno, OK } from '../../src/base/errno.js';
import { SECTOR_BYTES } from '../../src/base/units.js';
import { FilterDevice } from '../../src/storage/device/filter-device.js';
import type { MemoryDevice } from '../support/memory-device.js';
import type { Random } from '../support/random.js';

const SLOWEST_FLUSH_MILLISECONDS = 30;

/**
 * A disk with a volatile write cache over a medium, until the power is cut. For each sector written since the last
 * flush it keeps the old content of the medium, so that the cut can restore it.
 */
export class VolatileDisk extends FilterDevice {
  /** The old content of each sector. A flush begins a new map, and drops the older ones when it has finished. */
  private before: Map<number, Buffer>[] = [new Map()];
  private gone = false;

  constructor(
    private readonly medium: MemoryDevice,
    private readonly random: Random,
  ) {
    super(medium);
  }

  /** Sectors that a cut could take back now. */
  get unflushedSectors(): number {
    return this.before.reduce((sum, { size }) => sum + size, 0);
  }

  /**
   * Cuts the power: nothing more reaches the medium. `lostPercent` of the unflushed sectors, chosen at random, get
   * their old content back. Returns the number of those.
   */
  cutPower(lostPercent: number): number {
    this.gone = true;
    const lost = new Set<number>();
    for (const before of this.before.reverse()) {
      for (const [sector, content] of before) {
        if (this.random.below(100) >= lostPercent) continue;
        this.medium.writeNow(content, 0, SECTOR_BYTES, sector * SECTOR_BYTES);
        lost.add(sector);
      }
    }
    return lost.size;
  }

  override writeNow(source: Buffer, start: number, length: number, offset: number): Errno {
    if (this.gone) return OK;
    this.remember(offset, length);
    return this.medium.writeNow(source, start, length, offset);
  }

  override async write(source: Buffer, start: number, length: number, offset: number): Promise<Errno> {
    return this.writeNow(source, start, length, offset);
  }

  override async zero(offset: number, length: number): Promise<Errno> {
    return this.writeNow(Buffer.alloc(length), 0, length, offset);
  }

  override async trim(): Promise<Errno> {
    return OK;
  }

  /** Takes a while, as on a real disk, so that many cuts fall into a flush. */
  override async flush(): Promise<Errno> {
    const current: Map<number, Buffer> = new Map();
    this.before.push(current);
    await delay(this.random.below(SLOWEST_FLUSH_MILLISECONDS));
    // A later flush that has finished already has dropped it.
    if (!this.gone && this.before.includes(current)) this.before.splice(0, this.before.indexOf(current));
    return OK;
  }

  private remember(offset: number, length: number): void {
    const before = this.before.at(-1)!;
    const end = Math.ceil((offset + length) / SECTOR_BYTES);
    for (let sector = Math.floor(offset / SECTOR_BYTES); sector < end; sector++) {
      if (before.has(sector)) continue;
      const content = Buffer.alloc(SECTOR_BYTES);
      this.medium.readNow(content, 0, SECTOR_BYTES, sector * SECTOR_BYTES);
      before.set(sector, content);
    }
  }
}

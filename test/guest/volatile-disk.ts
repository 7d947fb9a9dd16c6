import { type Errno, OK } from '../../src/base/errno.js';
import { SECTOR_BYTES } from '../../src/base/units.js';
import { FilterDevice } from '../../src/storage/filter-device.js';
import type { MemoryDevice } from '../../src/storage/memory-device.js';
import type { Random } from '../support/random.js';

/**
 * A disk with a volatile write cache over a medium, until the power goes. For each sector written since the last flush
 * it keeps what was on the medium before, so that the cut can bring that back.
 */
export class VolatileDisk extends FilterDevice {
  private readonly before = new Map<number, Buffer>();
  private gone = false;

  constructor(private readonly medium: MemoryDevice) {
    super(medium);
  }

  /**
   * The power goes, and nothing more reaches the medium. Of the sectors not flushed `lostPercent` are as they were, in
   * no order. Returns the number of those.
   */
  cutPower(random: Random, lostPercent: number): number {
    this.gone = true;
    let lost = 0;
    for (const [sector, content] of this.before) {
      if (random.below(100) >= lostPercent) continue;
      this.medium.writeNow(content, 0, SECTOR_BYTES, sector * SECTOR_BYTES);
      lost++;
    }
    return lost;
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

  override async flush(): Promise<Errno> {
    if (!this.gone) this.before.clear();
    return OK;
  }

  private remember(offset: number, length: number): void {
    const end = Math.ceil((offset + length) / SECTOR_BYTES);
    for (let sector = Math.floor(offset / SECTOR_BYTES); sector < end; sector++) {
      if (this.before.has(sector)) continue;
      const content = Buffer.alloc(SECTOR_BYTES);
      this.medium.readNow(content, 0, SECTOR_BYTES, sector * SECTOR_BYTES);
      this.before.set(sector, content);
    }
  }
}

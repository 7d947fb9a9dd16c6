import { expectThat } from '../target.js';
import { GRANULE_BYTES } from './disks.js';

const SECTOR_BYTES = 512;
const SECTORS_PER_GRANULE = GRANULE_BYTES / SECTOR_BYTES;

/**
 * What a disk must hold, as far as that is known: requests that are under way at the same time may be carried out in any
 * order, so sectors that two of them change, or that one of them trims, are not known until they are written again.
 */
export class DiskModel {
  /** Granules that a change was acknowledged for, and those that one was asked for, since the bitmap was cleared. */
  readonly changed: Uint8Array;
  readonly touched: Uint8Array;
  private readonly unknown: Uint8Array;
  /** The wave in which a sector was changed last, and the one in which that happened twice. */
  private readonly changedIn: Uint32Array;
  private readonly changedTwiceIn: Uint32Array;
  /** The wave in which a granule was changed last. */
  private readonly granuleChangedIn: Uint32Array;
  private wave = 0;

  constructor(readonly content: Buffer) {
    const sectors = Math.ceil(content.length / SECTOR_BYTES);
    this.unknown = new Uint8Array(sectors);
    this.changedIn = new Uint32Array(sectors);
    this.changedTwiceIn = new Uint32Array(sectors);
    this.changed = new Uint8Array(Math.ceil(sectors / SECTORS_PER_GRANULE));
    this.touched = new Uint8Array(this.changed.length);
    this.granuleChangedIn = new Uint32Array(this.changed.length);
  }

  /** The same disk at this instant, for what never changes. */
  copy(): DiskModel {
    const copy = new DiskModel(Buffer.from(this.content));
    copy.unknown.set(this.unknown);
    return copy;
  }

  beginWave(): void {
    this.wave++;
  }

  /** A change is about to be asked for. */
  announce(offset: number, length: number): void {
    for (let sector = first(offset); sector < end(offset, length); sector++) {
      if (this.changedIn[sector] === this.wave) this.changedTwiceIn[sector] = this.wave;
      this.changedIn[sector] = this.wave;
      const granule = Math.floor(sector / SECTORS_PER_GRANULE);
      this.touched[granule] = 1;
      this.granuleChangedIn[granule] = this.wave;
    }
  }

  /** It was acknowledged. `fill` puts the new content, which is not known when there is none. */
  acknowledge(offset: number, length: number, fill: ((target: Buffer) => void) | undefined): void {
    fill?.(this.content.subarray(offset, offset + length));
    for (let sector = first(offset); sector < end(offset, length); sector++) {
      const at = sector * SECTOR_BYTES;
      const isWhole = offset <= at && offset + length >= Math.min(at + SECTOR_BYTES, this.content.length);
      if (!fill || this.changedTwiceIn[sector] === this.wave) this.unknown[sector] = 1;
      else if (isWhole) this.unknown[sector] = 0;
      this.changed[Math.floor(sector / SECTORS_PER_GRANULE)] = 1;
    }
  }

  /** Nobody will ever know whether it was carried out. */
  lose(offset: number, length: number): void {
    this.unknown.fill(1, first(offset), end(offset, length));
  }

  forgetChanges(): void {
    this.changed.fill(0);
    this.touched.fill(0);
  }

  /** What was read while this wave was under way. @throws WrongAnswer */
  compare(offset: number, data: Buffer): void {
    const { content } = this;
    if (data.equals(content.subarray(offset, offset + data.length))) return;
    for (let sector = first(offset); sector < end(offset, data.length); sector++) {
      if (this.changedIn[sector] === this.wave) continue;
      const from = Math.max(offset, sector * SECTOR_BYTES);
      const to = Math.min(offset + data.length, (sector + 1) * SECTOR_BYTES);
      const read = data.subarray(from - offset, to - offset);
      if (this.unknown[sector] === 1) {
        // Now it is known, once all of it was read.
        if (read.length !== SECTOR_BYTES) continue;
        read.copy(content, from);
        this.unknown[sector] = 0;
      }
      expectThat(read.equals(content.subarray(from, to)), () => `a read at ${offset} has other data at ${from}`);
    }
  }

  /** Whether every known sector of the range holds zeroes. */
  mayBeZero(offset: number, length: number): boolean {
    for (let sector = first(offset); sector < end(offset, length); sector++) {
      if (this.changedIn[sector] === this.wave || this.unknown[sector] === 1) continue;
      const at = sector * SECTOR_BYTES;
      const known = this.content.subarray(Math.max(at, offset), Math.min(at + SECTOR_BYTES, offset + length));
      if (known.some((byte) => byte !== 0)) return false;
    }
    return true;
  }

  /** What a bitmap says of a range. @throws WrongAnswer when it calls a change clean, or dirty what nobody changed */
  compareDirty(offset: number, length: number, dirty: boolean, bitmap: string): void {
    for (let granule = Math.floor(offset / GRANULE_BYTES); granule * GRANULE_BYTES < offset + length; granule++) {
      // Told before the change, perhaps, though the reply came after the other's.
      if (this.granuleChangedIn[granule] === this.wave) continue;
      const place = `the granule at ${granule * GRANULE_BYTES}`;
      if (!dirty) expectThat(this.changed[granule] === 0, () => `${bitmap} misses a change of ${place}`);
      else expectThat(this.touched[granule] === 1, () => `${bitmap} calls ${place} dirty, which nobody changed`);
    }
  }
}

const first = (offset: number) => Math.floor(offset / SECTOR_BYTES);
const end = (offset: number, length: number) => Math.ceil((offset + length) / SECTOR_BYTES);

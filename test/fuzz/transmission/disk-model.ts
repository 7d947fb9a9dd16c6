import { expectThat } from '../target.js';
import { GRANULE_BYTES } from './disks.js';

const SECTOR_BYTES = 512;
const SECTORS_PER_GRANULE = GRANULE_BYTES / SECTOR_BYTES;

/**
 * The expected content of a disk, as far as it is known. Requests that are in flight at the same time may be carried
 * out in any order, so sectors that two of them change, or that one of them trims, are unknown until they are written
 * again.
 */
export class DiskModel {
  /** Granules with an acknowledged change, and with a requested change, since the bitmap was cleared. */
  readonly changed: Uint8Array;
  readonly touched: Uint8Array;
  private readonly unknown: Uint8Array;
  /** The last wave in which a sector was changed, and the last one in which it was changed twice. */
  private readonly changedIn: Uint32Array;
  private readonly changedTwiceIn: Uint32Array;
  /** The last wave in which a granule was changed. */
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

  /** A copy of the disk at this instant, for a view, which never changes. */
  copy(): DiskModel {
    const copy = new DiskModel(Buffer.from(this.content));
    copy.unknown.set(this.unknown);
    return copy;
  }

  beginWave(): void {
    this.wave++;
  }

  /** Call this before a change is requested. */
  announce(offset: number, length: number): void {
    for (let sector = first(offset); sector < end(offset, length); sector++) {
      if (this.changedIn[sector] === this.wave) this.changedTwiceIn[sector] = this.wave;
      this.changedIn[sector] = this.wave;
      const granule = Math.floor(sector / SECTORS_PER_GRANULE);
      this.touched[granule] = 1;
      this.granuleChangedIn[granule] = this.wave;
    }
  }

  /** The change was acknowledged. `fill` writes the new content, which is unknown without it. */
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

  /** It will never be known whether the change was carried out. */
  lose(offset: number, length: number): void {
    this.unknown.fill(1, first(offset), end(offset, length));
  }

  forgetChanges(): void {
    this.changed.fill(0);
    this.touched.fill(0);
  }

  /** Checks what was read during this wave. @throws WrongAnswer */
  compare(offset: number, data: Buffer): void {
    const { content } = this;
    if (data.equals(content.subarray(offset, offset + data.length))) return;
    for (let sector = first(offset); sector < end(offset, data.length); sector++) {
      if (this.changedIn[sector] === this.wave) continue;
      const from = Math.max(offset, sector * SECTOR_BYTES);
      const to = Math.min(offset + data.length, (sector + 1) * SECTOR_BYTES);
      const read = data.subarray(from - offset, to - offset);
      if (this.unknown[sector] === 1) {
        // From now on it is known, if all of it was read.
        if (read.length !== SECTOR_BYTES) continue;
        read.copy(content, from);
        this.unknown[sector] = 0;
      }
      expectThat(read.equals(content.subarray(from, to)), () => `a read at ${offset} has other data at ${from}`);
    }
  }

  /** Whether all known sectors of the range are zero. */
  mayBeZero(offset: number, length: number): boolean {
    for (let sector = first(offset); sector < end(offset, length); sector++) {
      if (this.changedIn[sector] === this.wave || this.unknown[sector] === 1) continue;
      const at = sector * SECTOR_BYTES;
      const known = this.content.subarray(Math.max(at, offset), Math.min(at + SECTOR_BYTES, offset + length));
      if (known.some((byte) => byte !== 0)) return false;
    }
    return true;
  }

  /** Checks a bitmap in a range. @throws WrongAnswer if a change is clean there, or something unchanged is dirty */
  compareDirty(offset: number, length: number, dirty: boolean, bitmap: string): void {
    for (let granule = Math.floor(offset / GRANULE_BYTES); granule * GRANULE_BYTES < offset + length; granule++) {
      // It may have been looked up before the change, even if this reply came later.
      if (this.granuleChangedIn[granule] === this.wave) continue;
      const place = `the granule at ${granule * GRANULE_BYTES}`;
      if (!dirty) expectThat(this.changed[granule] === 0, () => `${bitmap} misses a change of ${place}`);
      else expectThat(this.touched[granule] === 1, () => `${bitmap} calls ${place} dirty, which nobody changed`);
    }
  }
}

const first = (offset: number) => Math.floor(offset / SECTOR_BYTES);
const end = (offset: number, length: number) => Math.ceil((offset + length) / SECTOR_BYTES);

import { ENXIO } from '../../base/errno.js';
import type { ExtentList } from '../../base/extents.js';
import { giveWay } from '../../base/loop-share.js';
import { type CallResult, SEEK_DATA, SEEK_END, SEEK_HOLE, type SeekWhence } from '../../posix/posix-calls.js';
import { ALLOCATION_HOLE, ALLOCATION_ZERO } from '../device/block-device.js';
import type { ImageFile } from './image-file.js';
import { Pace } from './pace.js';

const HOLE = ALLOCATION_HOLE | ALLOCATION_ZERO;
const DATA = 0;

/** Takes a few hundred microseconds. */
const EXTENTS_PER_STEP = 64;

/**
 * Finds the holes of an image. Where that is not possible, it reports data.
 *
 * The last run of data is remembered until a hole is punched. The reason is that SEEK_HOLE always searches to the end
 * of the run, even if only a small range is of interest, and in a memory file it visits every page on the way.
 */
export class FileExtents {
  private dataFrom = 0;
  private dataTo = 0;
  private punches = 0;
  private readonly pace = new Pace();

  constructor(private readonly file: ImageFile) {}

  /** Call this after a hole was punched. */
  forget(): void {
    this.dataFrom = 0;
    this.dataTo = 0;
    this.punches++;
  }

  /** How many bytes at the start of the range are a hole, as far as one quick call can tell; 0 if none or unknown. */
  holeNow(offset: number, length: number): number {
    if (this.rememberedDataEnd(offset) > offset || this.file.exclusiveCalls > 0) return 0;
    const startMs = this.pace.nowMs();
    if (!this.pace.allowsNow(startMs)) return 0;
    const { fd, posix } = this.file;
    let data = posix.seekNow(fd, offset, SEEK_DATA);
    if (data === -ENXIO) data = posix.seekNow(fd, 0, SEEK_END);
    this.pace.tookNow(startMs, 0);
    data = this.file.filledUp(data);
    return data <= offset ? 0 : Math.min(data - offset, length);
  }

  /** Appends the holes and the data of the range to `list`, until the range is covered or the list is full. */
  async append(offset: number, length: number, list: ExtentList): Promise<void> {
    const end = offset + length;
    let position = offset;
    for (let step = 1; position < end; step++) {
      const data = Math.min(await this.nextData(position), end);
      if (data > position && !list.add(data - position, HOLE)) return;
      if (data === end) return;
      position = Math.min(await this.dataEnd(data, end), end);
      if (!list.add(position - data, DATA)) return;
      if (step % EXTENTS_PER_STEP === 0) await giveWay();
    }
  }

  private async nextData(position: number): Promise<number> {
    if (this.rememberedDataEnd(position) > position) return position;
    let data = await this.seek(position, SEEK_DATA);
    // No more data: the hole reaches only to the end of the file, because beyond the end of a truncated file reads
    // fail.
    if (data === -ENXIO) data = await this.seek(0, SEEK_END);
    return Math.max(this.file.filledUp(data), position);
  }

  /** Where the data at `position` ends; `unknown` if the file system does not tell. */
  private async dataEnd(position: number, unknown: number): Promise<number> {
    const remembered = this.rememberedDataEnd(position);
    if (remembered > position) return remembered;
    const punches = this.punches;
    const hole = this.file.filledUp(await this.seek(position, SEEK_HOLE));
    if (hole <= position) return unknown;
    if (punches === this.punches) {
      this.dataFrom = position;
      this.dataTo = hole;
    }
    return hole;
  }

  private rememberedDataEnd(position: number): number {
    return position >= this.dataFrom && position < this.dataTo ? this.dataTo : 0;
  }

  private seek(offset: number, whence: SeekWhence): CallResult | Promise<CallResult> {
    const { fd, posix, inMemory, exclusiveCalls } = this.file;
    const walksPages = inMemory && whence === SEEK_HOLE;
    const startMs = this.pace.nowMs();
    if (walksPages || exclusiveCalls > 0 || !this.pace.allowsNow(startMs)) {
      return this.file.exclusively(() => posix.seek(fd, offset, whence));
    }
    const result = posix.seekNow(fd, offset, whence);
    this.pace.tookNow(startMs, 0);
    return result;
  }
}

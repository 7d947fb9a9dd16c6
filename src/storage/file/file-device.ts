import type { FileHandle } from 'node:fs/promises';
import { assert } from '../../base/assert.js';
import { EIO, EOPNOTSUPP, type Errno, OK, type WOULD_BLOCK } from '../../base/errno.js';
import type { ExtentList } from '../../base/extents.js';
import type { BlockDevice, DeviceCapabilities, ZeroOptions } from '../device/block-device.js';
import type { PagePipe } from '../device/page-pipe.js';
import { assertInside } from '../device/range.js';
import { type DiskIdentity, type FileTimes, fileTimesNow, identifyDisk } from '../image/disk-identity.js';
import { growImage } from '../image/image-size.js';
import type { CountingFacts } from '../image/write-counters.js';
import type { DiskShare } from './disk-threads.js';
import { FileExtents } from './file-extents.js';
import { FileFlusher } from './file-flusher.js';
import { FileReader } from './file-reader.js';
import { FileWriter } from './file-writer.js';
import { FileZeroer, type ZeroingFacts } from './file-zeroer.js';
import type { ImageFile } from './image-file.js';
import type { SharedFile } from './quick-file.js';

/** Unit of `blocks` in stat(2). */
const STAT_BLOCK_BYTES = 512;

export interface FileDeviceParts {
  readonly path: string;
  readonly handle: FileHandle;
  readonly file: ImageFile;
  readonly sizeBytes: number;
  /** As in `DiskIdentity`. */
  readonly localTimes: boolean;
  /** As in `ImageFacts`. */
  readonly timesAtOnce: boolean;
  readonly isBlockDevice: boolean;
  readonly capabilities: DeviceCapabilities;
  readonly zeroing: ZeroingFacts;
  readonly counting?: CountingFacts | undefined;
}

/**
 * A disk in a file or on a block device, created by `openDisk`. Changes go to the kernel's page cache, where every
 * reader of the image sees them at once. `flush` makes them durable.
 */
export class FileDevice implements BlockDevice {
  readonly capabilities: DeviceCapabilities;
  private readonly reader: FileReader;
  private readonly writer: FileWriter;
  private readonly zeroer: FileZeroer;
  private readonly flusher: FileFlusher;
  private readonly extentFinder: FileExtents;
  private size: number;
  private open = true;
  private callsInFlight = 0;
  private whenIdle: (() => void) | undefined;

  constructor(private readonly parts: FileDeviceParts) {
    const { file } = parts;
    this.capabilities = parts.capabilities;
    this.size = parts.sizeBytes;
    this.reader = new FileReader(file);
    this.writer = new FileWriter(file);
    this.zeroer = new FileZeroer(file, this.writer, parts.zeroing);
    this.flusher = new FileFlusher(file);
    this.extentFinder = new FileExtents(file);
  }

  get isBlockDevice(): boolean {
    return this.parts.isBlockDevice;
  }

  /** Undefined for a file. */
  get counting(): CountingFacts | undefined {
    return this.parts.counting;
  }

  /** What another thread needs to use the same image while it is open. */
  get shared(): SharedFile {
    const { path, file } = this.parts;
    return { path, fd: file.fd, inMemory: file.inMemory, endsWithin: file.endsWithin };
  }

  /** How many flushes have shared one of the file with another. */
  get mergedFlushes(): number {
    return this.flusher.merged;
  }

  get sizeBytes(): number {
    return this.size;
  }

  readNow(target: Buffer, start: number, length: number, offset: number): Errno | typeof WOULD_BLOCK {
    this.assertReadable(offset, length);
    return this.reader.readNow(target, start, length, offset);
  }

  lendNow(pipe: PagePipe, length: number, offset: number): typeof OK | typeof WOULD_BLOCK {
    this.assertReadable(offset, length);
    return this.reader.lendNow(pipe, length, offset);
  }

  read(target: Buffer, start: number, length: number, offset: number): Promise<Errno> {
    this.assertReadable(offset, length);
    return this.inFlight(this.reader.read(target, start, length, offset));
  }

  holeNow(offset: number, length: number): number {
    this.assertReadable(offset, length);
    return this.extentFinder.holeNow(offset, length);
  }

  writeNow(source: Buffer, start: number, length: number, offset: number): Errno | typeof WOULD_BLOCK {
    this.assertWritable(offset, length);
    if (this.flusher.failed) return EIO;
    return this.writer.writeNow(source, start, length, offset);
  }

  async write(source: Buffer, start: number, length: number, offset: number): Promise<Errno> {
    this.assertWritable(offset, length);
    if (this.flusher.failed) return EIO;
    return this.inFlight(this.writer.write(source, start, length, offset));
  }

  async zero(offset: number, length: number, options: ZeroOptions): Promise<Errno> {
    this.assertWritable(offset, length);
    if (this.flusher.failed) return EIO;
    if (options.fastOnly && !this.capabilities.fastZero) return EOPNOTSUPP;
    const result = await this.inFlight(this.zeroer.zero(offset, length, options));
    this.extentFinder.forget();
    return result;
  }

  async trim(offset: number, length: number): Promise<Errno> {
    this.assertWritable(offset, length);
    if (this.flusher.failed) return EIO;
    const result = await this.inFlight(this.zeroer.trim(offset, length));
    this.extentFinder.forget();
    return result;
  }

  async flush(): Promise<Errno> {
    assert(this.open, 'the device is open');
    if (this.capabilities.readOnly) return OK;
    return this.inFlight(this.flusher.flush());
  }

  /**
   * The errno of a write-back that failed, as far as is known by now; OK if none did. Each failure is reported once.
   */
  async lostWrites(): Promise<Errno> {
    assert(this.open, 'the device is open');
    const { fd, posix, faults } = this.parts.file;
    const result = await this.inFlight(posix.awaitWriteback(fd));
    if (result >= 0 || result === -EOPNOTSUPP) return OK;
    return faults.report('flush', -result, 'the storage lost data that had been written');
  }

  async cache(offset: number, length: number): Promise<Errno> {
    this.assertReadable(offset, length);
    const { fd, posix } = this.parts.file;
    await this.inFlight(posix.willNeed(fd, offset, length));
    return OK;
  }

  async extents(offset: number, length: number, list: ExtentList): Promise<Errno> {
    this.assertReadable(offset, length);
    await this.inFlight(this.extentFinder.append(offset, length, list));
    return OK;
  }

  identify(): Promise<DiskIdentity> {
    assert(this.open, 'the device is open');
    const { handle, localTimes, timesAtOnce } = this.parts;
    const disk = { handle, sizeBytes: this.size, localTimes, timesAtOnce };
    return this.inFlight(this.share.pass(() => identifyDisk(disk)));
  }

  /** The times of a file that can be read without waiting. Undefined if there are none. */
  timesNow(): FileTimes | undefined {
    const { handle, timesAtOnce } = this.parts;
    return this.open && timesAtOnce ? fileTimesNow(handle) : undefined;
  }

  /**
   * Like `identify`, but first writes a block device's cached data back, because the kernel counts writes only then.
   * This includes what other programs have written, because they share the page cache.
   */
  async identifySettled(): Promise<DiskIdentity> {
    if (this.isBlockDevice) await (this.capabilities.readOnly ? this.writeBack() : this.flush());
    return this.identify();
  }

  /** How many bytes of storage the file uses; undefined for a block device, which cannot tell. */
  async allocatedBytes(): Promise<number | undefined> {
    assert(this.open, 'the device is open');
    const facts = await this.inFlight(this.share.pass(() => this.parts.handle.stat()));
    return facts.isFile() ? facts.blocks * STAT_BLOCK_BYTES : undefined;
  }

  /**
   * Serves `sizeBytes` from now on. A shorter file grows by a hole; a longer file keeps its data beyond the end of the
   * disk. A block device must be large enough already. The caller ensures that nothing is in flight beyond the new end.
   * @throws CodedError IMAGE_UNUSABLE if the image cannot have that size
   */
  async resize(sizeBytes: number): Promise<void> {
    assert(this.open, 'the device is open');
    const { handle, path } = this.parts;
    const { readOnly } = this.capabilities;
    await this.inFlight(this.share.pass(() => growImage({ handle, path, readOnly, sizeBytes })));
    this.size = sizeBytes;
  }

  /** Waits for the calls in flight, then closes the image, which also releases its locks. Does not flush. */
  async close(): Promise<void> {
    if (!this.open) return;
    this.open = false;
    if (this.callsInFlight > 0)
      await new Promise<void>((resolve) => {
        this.whenIdle = resolve;
      });
    await this.share.pass(() => this.parts.handle.close());
  }

  /** Writes back what other programs have written. We ignore failures, because the data is not ours. */
  private async writeBack(): Promise<void> {
    await this.inFlight(this.share.pass(() => this.parts.handle.sync().catch(() => {})));
  }

  private get share(): DiskShare {
    return this.parts.file.share;
  }

  /** Keeps the image open until `call` has ended. If it were closed earlier, another file could get its descriptor. */
  private async inFlight<T>(call: Promise<T>): Promise<T> {
    this.callsInFlight++;
    try {
      return await call;
    } finally {
      this.callsInFlight--;
      if (this.callsInFlight === 0) this.whenIdle?.();
    }
  }

  private assertReadable(offset: number, length: number): void {
    assert(this.open, 'the device is open');
    assertInside(this.size, offset, length);
  }

  private assertWritable(offset: number, length: number): void {
    assert(!this.capabilities.readOnly, 'a read-only device is not changed');
    this.assertReadable(offset, length);
  }
}

import type { Errno, OK, WOULD_BLOCK } from '../../base/errno.js';
import type { ExtentList } from '../../base/extents.js';
import type { PagePipe } from './page-pipe.js';

/** Bits of an allocation status. An extent with neither bit is data. */
export const ALLOCATION_HOLE = 1;
export const ALLOCATION_ZERO = 2;

/** What a device can do. Read once, when it is opened; does not change while it is open. */
export interface DeviceCapabilities {
  readonly readOnly: boolean;
  readonly rotational: boolean;
  /** `trim` frees space. If false, `trim` is accepted and does nothing. */
  readonly trim: boolean;
  /** `zero` can be faster than writing zeroes. If false, `fastOnly` always returns EOPNOTSUPP. */
  readonly fastZero: boolean;
}

export interface ZeroOptions {
  /** The range stays allocated: a later write to it cannot fail for lack of space. */
  readonly keepAllocated: boolean;
  /** Return EOPNOTSUPP, with nothing changed, if zeroing would be no faster than a write. */
  readonly fastOnly: boolean;
}

/**
 * A disk of `sizeBytes` bytes, and also the filter interface: dirty tracking and other filters are devices that wrap
 * another device. Offsets and lengths are in bytes, at any alignment. The caller has checked that each range lies
 * inside the disk, and that the device is not read-only before it changes it. Devices only assert this.
 *
 * Reads and writes come in pairs. `readNow` and `writeNow` either finish before they return, or return WOULD_BLOCK and
 * have no visible effect; the caller then uses `read` or `write`, which may wait. So a request that can be served at
 * once costs no promise, no closure and no copy, and everything that waits is an ordinary async function. The caller
 * gets a buffer back when a `…Now` call returns; a promise-returning call owns the buffer until its promise settles.
 * Promises resolve to an errno (0 means success) and never reject because of an I/O error.
 */
export interface BlockDevice {
  /** A multiple of 512. Changes only when the layer that owns the device calls its `resize`. */
  readonly sizeBytes: number;
  readonly capabilities: DeviceCapabilities;

  /** Reads `length` bytes at disk offset `offset` into `target`, from index `start` on. */
  readNow(target: Buffer, start: number, length: number, offset: number): Errno | typeof WOULD_BLOCK;
  read(target: Buffer, start: number, length: number, offset: number): Promise<Errno>;

  /**
   * Fills `pipe`, which is empty, with references to the pages that hold the range. Returns WOULD_BLOCK, and leaves the
   * pipe empty, if the device cannot do that now; `readNow` then finds out why. A later write may show in what was lent,
   * until somebody copies it. So a disk must not lend what it may have to show as it was.
   */
  lendNow(pipe: PagePipe, length: number, offset: number): typeof OK | typeof WOULD_BLOCK;

  /**
   * How many bytes at the start of the range are a hole that reads as zeroes, as far as is known without waiting; 0 if
   * there is no hole or it is not known.
   */
  holeNow(offset: number, length: number): number;

  /** Writes `length` bytes of `source`, from index `start` on, to disk offset `offset`. Not yet durable. */
  writeNow(source: Buffer, start: number, length: number, offset: number): Errno | typeof WOULD_BLOCK;
  write(source: Buffer, start: number, length: number, offset: number): Promise<Errno>;

  /** Makes the range read as zeroes. */
  zero(offset: number, length: number, options: ZeroOptions): Promise<Errno>;
  /** A hint that the range is no longer needed. Afterwards it reads as its old content or as zeroes. */
  trim(offset: number, length: number): Promise<Errno>;
  /** Makes every write, zero and trim durable that was complete when it was called. */
  flush(): Promise<Errno>;
  /** A hint that the range will be read soon. */
  cache(offset: number, length: number): Promise<Errno>;

  /**
   * Appends the allocation of the range to `list`, as ALLOCATION_* bits, until the range is covered or the list is
   * full. Data is always a safe answer. A hole is reported only where reads return zeroes.
   */
  extents(offset: number, length: number, list: ExtentList): Promise<Errno>;

  /** Releases what the device itself opened, but nothing that was passed to it. */
  close(): Promise<void>;
}

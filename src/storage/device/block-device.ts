import type { Errno, WOULD_BLOCK } from '../../base/errno.js';
import type { ExtentList } from '../../base/extents.js';

/** Bits of an allocation status. An extent with neither bit is data. */
export const ALLOCATION_HOLE = 1;
export const ALLOCATION_ZERO = 2;

/** What a device can do, asked once when it is opened; it does not change while the device is open. */
export interface DeviceCapabilities {
  readonly readOnly: boolean;
  readonly rotational: boolean;
  /** `trim` gives space back. When false it is accepted and does nothing. */
  readonly trim: boolean;
  /** `zero` can be quicker than writing zeroes; when false, `fastOnly` always answers EOPNOTSUPP. */
  readonly fastZero: boolean;
}

export interface ZeroOptions {
  /** The range stays allocated: a later write to it cannot fail for lack of space. */
  readonly keepAllocated: boolean;
  /** Answer EOPNOTSUPP, with nothing changed, when it would be no quicker than a write. */
  readonly fastOnly: boolean;
}

/**
 * A disk of `sizeBytes` bytes, and at the same time the filter interface: dirty tracking and the like are devices that
 * wrap the next one. Offsets and lengths are bytes, any alignment; the caller has checked that each range lies inside
 * the disk and that the device is not read-only when it changes it, so devices only assert.
 *
 * Reads and writes come in pairs. `readNow` and `writeNow` finish before they return, or answer WOULD_BLOCK and have
 * done nothing that the caller can see; then `read` or `write` does the same and may wait. So a request that can
 * be served at once costs no promise, no closure and no copy, and everything that waits is an ordinary async function.
 * A buffer given to a `…Now` call is the caller's again on return; one given to a promise-returning call belongs to the
 * device until the promise settles. Promises resolve to an errno (0: done) and never reject for an I/O error.
 */
export interface BlockDevice {
  /** A multiple of 512. Changes only by `resize` of the layer that owns it. */
  readonly sizeBytes: number;
  readonly capabilities: DeviceCapabilities;

  /** Reads `length` bytes at disk offset `offset` into `target`, from index `start` on. */
  readNow(target: Buffer, start: number, length: number, offset: number): Errno | typeof WOULD_BLOCK;
  read(target: Buffer, start: number, length: number, offset: number): Promise<Errno>;

  /**
   * Bytes at the start of the range that are known, without waiting, to be a hole that reads as zeroes; 0 when there
   * are none or it is not known.
   */
  holeNow(offset: number, length: number): number;

  /** Writes `length` bytes of `source`, from index `start` on, to disk offset `offset`. Not yet durable. */
  writeNow(source: Buffer, start: number, length: number, offset: number): Errno | typeof WOULD_BLOCK;
  write(source: Buffer, start: number, length: number, offset: number): Promise<Errno>;

  /** Makes the range read as zeroes. */
  zero(offset: number, length: number, options: ZeroOptions): Promise<Errno>;
  /** A hint that the range is no longer needed. It reads as its old content or as zeroes afterwards. */
  trim(offset: number, length: number): Promise<Errno>;
  /** Makes durable every write, zero and trim that was complete when it was called. */
  flush(): Promise<Errno>;
  /** A hint that the range will be read soon. */
  cache(offset: number, length: number): Promise<Errno>;

  /**
   * Appends the allocation of the range to `list`, status bits ALLOCATION_*, until the range is covered or the list
   * is full. Data is always a safe answer; a hole is reported only where reads give zeroes.
   */
  extents(offset: number, length: number, list: ExtentList): Promise<Errno>;

  /** Releases what the device itself opened, and nothing that it was handed. */
  close(): Promise<void>;
}

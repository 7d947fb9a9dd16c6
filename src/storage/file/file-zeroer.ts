import { constants } from 'node:os';
import { EOPNOTSUPP, type Errno, OK } from '../../base/errno.js';
import { KIB, MIB } from '../../base/units.js';
import { PUNCH_HOLE, ZERO_RANGE } from '../../posix/posix-calls.js';
import type { ZeroOptions } from '../device/block-device.js';
import type { FileWriter } from './file-writer.js';
import type { ImageFile } from './image-file.js';

const { ENOSYS, ENODEV } = constants.errno;

/** The facts about an image that decide how it is zeroed. */
export interface ZeroingFacts {
  /** Holes and zeroed ranges begin and end at multiples of this. */
  readonly alignmentBytes: number;
  /** If false, zeroes have to be written. */
  readonly mayPunch: boolean;
}

/** Errors of fallocate if the file system, the device or the kernel does not support the mode. */
const REFUSALS = [EOPNOTSUPP, ENOSYS, ENODEV];

/** Every other change of the file waits for such a call. One of this size takes about ten milliseconds. */
const MAX_CALL_BYTES = 128 * MIB;
const ZEROES: Buffer = Buffer.alloc(256 * KIB);
/** Trimming less than a file system block frees no space. */
const TRIM_BYTES = 4 * KIB;

/**
 * Zeroes and trims ranges of an image: by punching holes, by marking ranges as zeroes, or by writing zeroes. A mode
 * that the file system refuses once is not tried again.
 */
export class FileZeroer {
  private readonly alignmentBytes: number;
  private readonly refused: Set<number>;

  constructor(
    private readonly file: ImageFile,
    private readonly writer: FileWriter,
    facts: ZeroingFacts,
  ) {
    this.alignmentBytes = facts.alignmentBytes;
    this.refused = new Set(facts.mayPunch ? [] : [PUNCH_HOLE, ZERO_RANGE]);
  }

  async zero(offset: number, length: number, options: ZeroOptions): Promise<Errno> {
    const end = offset + length;
    const from = Math.min(roundUp(offset, this.alignmentBytes), end);
    const to = Math.max(roundDown(end, this.alignmentBytes), from);
    const result = await this.zeroAligned(from, to - from, options.keepAllocated);
    if (result === EOPNOTSUPP && !options.fastOnly) return this.writeZeroes(offset, length);
    if (result !== OK) return result;
    return (await this.writeZeroes(offset, from - offset)) || (await this.writeZeroes(to, end - to));
  }

  async trim(offset: number, length: number): Promise<Errno> {
    const alignmentBytes = Math.max(TRIM_BYTES, this.alignmentBytes);
    const from = roundUp(offset, alignmentBytes);
    const to = roundDown(offset + length, alignmentBytes);
    if (from >= to) return OK;
    const result = await this.fallocate(PUNCH_HOLE, from, to - from);
    if (result === OK || result === EOPNOTSUPP) return OK;
    return this.file.faults.report('trim', result);
  }

  /** EOPNOTSUPP, with nothing changed, if zeroes have to be written. */
  private async zeroAligned(offset: number, length: number, keepAllocated: boolean): Promise<Errno> {
    for (const mode of keepAllocated ? [ZERO_RANGE] : [PUNCH_HOLE, ZERO_RANGE]) {
      const result = await this.fallocate(mode, offset, length);
      if (result === OK) return OK;
      if (result !== EOPNOTSUPP) return this.file.faults.report('zero', result);
    }
    return EOPNOTSUPP;
  }

  private async fallocate(mode: number, offset: number, length: number): Promise<Errno> {
    if (this.refused.has(mode)) return EOPNOTSUPP;
    for (let done = 0; done < length; done += MAX_CALL_BYTES) {
      const pieceBytes = Math.min(length - done, MAX_CALL_BYTES);
      const { fd, posix } = this.file;
      const result = await this.file.exclusively(() => posix.fallocate(fd, mode, offset + done, pieceBytes));
      if (result === 0) continue;
      if (!REFUSALS.includes(-result)) return -result;
      this.refused.add(mode);
      return EOPNOTSUPP;
    }
    return OK;
  }

  private async writeZeroes(offset: number, length: number): Promise<Errno> {
    for (let done = 0; done < length; ) {
      const pieceBytes = Math.min(length - done, ZEROES.length);
      const errno = await this.writer.write(ZEROES, 0, pieceBytes, offset + done);
      if (errno !== OK) return errno;
      done += pieceBytes;
    }
    return OK;
  }
}

function roundDown(value: number, unit: number): number {
  return Math.floor(value / unit) * unit;
}

function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}

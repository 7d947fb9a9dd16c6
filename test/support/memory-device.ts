import { assert } from '../../src/base/assert.js';
import { EOPNOTSUPP, type Errno, OK, WOULD_BLOCK } from '../../src/base/errno.js';
import type { ExtentList } from '../../src/base/extents.js';
import { KIB, SECTOR_BYTES } from '../../src/base/units.js';
import {
  ALLOCATION_HOLE,
  ALLOCATION_ZERO,
  type BlockDevice,
  type DeviceCapabilities,
  type ZeroOptions,
} from '../../src/storage/device/block-device.js';
import { assertInside } from '../../src/storage/device/range.js';

const CHUNK_BYTES = 64 * KIB;

/** Stands for an allocated chunk that reads as zeroes. The first write replaces it by a chunk of its own. */
const ZERO_CHUNK: Buffer = Buffer.alloc(CHUNK_BYTES);

/**
 * A disk in memory, made of chunks that are allocated at the first write, so that a disk of many TiB costs nothing.
 * Every call finishes before it returns, so `…Now` calls never answer WOULD_BLOCK.
 */
export class MemoryDevice implements BlockDevice {
  readonly capabilities: DeviceCapabilities;
  /** By index. A missing chunk is a hole. */
  private readonly chunks = new Map<number, Buffer>();
  private size: number;

  /** `capabilities` replaces some of the defaults: writable, not rotational, with trim and fast zeroes. */
  constructor(sizeBytes: number, capabilities: Partial<DeviceCapabilities> = {}) {
    assert(sizeBytes > 0 && sizeBytes % SECTOR_BYTES === 0, 'a disk is a whole number of sectors');
    this.size = sizeBytes;
    this.capabilities = { readOnly: false, rotational: false, trim: true, fastZero: true, ...capabilities };
  }

  get sizeBytes(): number {
    return this.size;
  }

  /** Adds a hole at the end, or cuts the end off. */
  resize(sizeBytes: number): void {
    assert(sizeBytes > 0 && sizeBytes % SECTOR_BYTES === 0, 'a disk is a whole number of sectors');
    if (sizeBytes < this.size) this.discard(sizeBytes, this.size - sizeBytes);
    this.size = sizeBytes;
  }

  readNow(target: Buffer, start: number, length: number, offset: number): Errno {
    assertInside(this.size, offset, length);
    let at = start;
    this.eachPiece(offset, length, (index, from, to) => {
      const chunk = this.chunks.get(index);
      if (chunk) chunk.copy(target, at, from, to);
      else target.fill(0, at, at + to - from);
      at += to - from;
    });
    return OK;
  }

  lendNow(): typeof OK | typeof WOULD_BLOCK {
    return WOULD_BLOCK;
  }

  async read(target: Buffer, start: number, length: number, offset: number): Promise<Errno> {
    return this.readNow(target, start, length, offset);
  }

  holeNow(offset: number, length: number): number {
    assertInside(this.size, offset, length);
    const end = offset + length;
    let position = offset;
    while (position < end) {
      const index = Math.floor(position / CHUNK_BYTES);
      if (this.chunks.has(index)) break;
      position = Math.min((index + 1) * CHUNK_BYTES, end);
    }
    return position - offset;
  }

  writeNow(source: Buffer, start: number, length: number, offset: number): Errno {
    this.assertWritable(offset, length);
    let at = start;
    this.eachPiece(offset, length, (index, from, to) => {
      source.copy(this.ownChunk(index), from, at, at + to - from);
      at += to - from;
    });
    return OK;
  }

  async write(source: Buffer, start: number, length: number, offset: number): Promise<Errno> {
    return this.writeNow(source, start, length, offset);
  }

  async zero(offset: number, length: number, options: ZeroOptions): Promise<Errno> {
    this.assertWritable(offset, length);
    if (options.fastOnly && !this.capabilities.fastZero) return EOPNOTSUPP;
    if (!options.keepAllocated) this.discard(offset, length);
    else this.eachPiece(offset, length, (index, from, to) => this.zeroAllocated(index, from, to));
    return OK;
  }

  async trim(offset: number, length: number): Promise<Errno> {
    this.assertWritable(offset, length);
    if (this.capabilities.trim) this.discard(offset, length);
    return OK;
  }

  async flush(): Promise<Errno> {
    return OK;
  }

  async cache(offset: number, length: number): Promise<Errno> {
    assertInside(this.size, offset, length);
    return OK;
  }

  async extents(offset: number, length: number, list: ExtentList): Promise<Errno> {
    assertInside(this.size, offset, length);
    const end = offset + length;
    let position = offset;
    for (const index of this.allocatedIndexes(offset, end)) {
      const from = Math.max(index * CHUNK_BYTES, offset);
      if (from > position && !list.add(from - position, ALLOCATION_HOLE | ALLOCATION_ZERO)) return OK;
      position = Math.min((index + 1) * CHUNK_BYTES, end);
      if (!list.add(position - from, this.chunks.get(index) === ZERO_CHUNK ? ALLOCATION_ZERO : 0)) return OK;
    }
    if (position < end) list.add(end - position, ALLOCATION_HOLE | ALLOCATION_ZERO);
    return OK;
  }

  async close(): Promise<void> {}

  private assertWritable(offset: number, length: number): void {
    assert(!this.capabilities.readOnly, 'a read-only device is not changed');
    assertInside(this.size, offset, length);
  }

  /** The indexes of existing chunks that overlap the range, in order. The cost does not depend on the disk's size. */
  private allocatedIndexes(offset: number, end: number): number[] {
    const inside = (index: number) => (index + 1) * CHUNK_BYTES > offset && index * CHUNK_BYTES < end;
    return [...this.chunks.keys()].filter(inside).sort((a, b) => a - b);
  }

  /** Calls `visit` for the part of the range in each chunk, with its bounds inside that chunk. */
  private eachPiece(offset: number, length: number, visit: (index: number, from: number, to: number) => void): void {
    const end = offset + length;
    for (let position = offset; position < end; ) {
      const index = Math.floor(position / CHUNK_BYTES);
      const chunkStart = index * CHUNK_BYTES;
      const pieceEnd = Math.min(chunkStart + CHUNK_BYTES, end);
      visit(index, position - chunkStart, pieceEnd - chunkStart);
      position = pieceEnd;
    }
  }

  private ownChunk(index: number): Buffer {
    let chunk = this.chunks.get(index);
    if (!chunk || chunk === ZERO_CHUNK) {
      chunk = Buffer.alloc(CHUNK_BYTES);
      this.chunks.set(index, chunk);
    }
    return chunk;
  }

  private zeroAllocated(index: number, from: number, to: number): void {
    const chunk = this.chunks.get(index);
    if (!chunk || to - from === CHUNK_BYTES) this.chunks.set(index, ZERO_CHUNK);
    else if (chunk !== ZERO_CHUNK) chunk.fill(0, from, to);
  }

  private discard(offset: number, length: number): void {
    this.eachPiece(offset, length, (index, from, to) => {
      if (to - from === CHUNK_BYTES) this.chunks.delete(index);
      else if (this.chunks.has(index)) this.zeroAllocated(index, from, to);
    });
  }
}

import { assert } from '../../src/base/assert.js';
import { EIO, ENOSPC, type Errno, OK, WOULD_BLOCK } from '../../src/base/errno.js';
import { ExtentList } from '../../src/base/extents.js';
import { KIB } from '../../src/base/units.js';
import type { CopyBeforeWrite } from '../../src/snapshot/copy-before-write.js';
import { OVERWRITTEN } from '../../src/snapshot/old-data.js';
import { ScratchBudget } from '../../src/snapshot/scratch-budget.js';
import { Snapshot } from '../../src/snapshot/snapshot.js';
import type { BlockDevice } from '../../src/storage/device/block-device.js';
import { FilterDevice } from '../../src/storage/device/filter-device.js';
import { JitteryDevice, type Waits } from '../support/jittery-device.js';
import { MemoryDevice } from '../support/memory-device.js';
import type { Random } from '../support/random.js';

/** Counts the bytes written to it. */
class CountingDevice extends FilterDevice {
  writtenBytes = 0;

  override writeNow(source: Buffer, start: number, length: number, offset: number): Errno | typeof WOULD_BLOCK {
    this.writtenBytes += length;
    return super.writeNow(source, start, length, offset);
  }

  override write(source: Buffer, start: number, length: number, offset: number): Promise<Errno> {
    this.writtenBytes += length;
    return super.write(source, start, length, offset);
  }
}

/** Visits the extents in a list that must cover `length` bytes, with their offsets. */
function eachExtent(list: ExtentList, length: number, visit: (at: number, bytes: number, status: number) => void) {
  assert(list.totalBytes === length || list.count === list.limit, 'the answer covers the range');
  let at = 0;
  for (const [index, bytes] of list.lengths.entries()) {
    visit(at, bytes, list.statuses[index]!);
    at += bytes;
  }
}

/** A snapshot with random options, and a plain copy of the disk made when it was attached. */
export class ObservedSnapshot {
  private readonly snapshot: Snapshot;
  private readonly counting: CountingDevice;
  private readonly limitBytes: number;
  private readonly granule: number;
  private readonly failures: Errno[] = [];
  private readonly detach: () => void;
  private readonly mayFail: boolean;
  /** For each granule: 1 once its release was requested, 2 once it is done. */
  private readonly released: Uint8Array;
  private closed = false;

  constructor(
    private readonly source: BlockDevice,
    filter: CopyBeforeWrite,
    private readonly before: Buffer,
    private readonly random: Random,
    private readonly waits: Waits,
  ) {
    this.granule = random.pick([4, 16, 64, 128]) * KIB;
    this.limitBytes = random.pick([Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, random.below(200) * KIB]);
    this.released = new Uint8Array(Math.ceil(before.length / this.granule));
    const failing = { oneIn: random.pick([0, 0, 10]), errno: random.pick([EIO, ENOSPC]) };
    this.mayFail = failing.oneIn > 0 || this.limitBytes < Number.POSITIVE_INFINITY;
    this.counting = new CountingDevice(new MemoryDevice(before.length));
    this.snapshot = new Snapshot({
      source,
      sizeBytes: before.length,
      pieceBytes: this.granule,
      scratch: new JitteryDevice(this.counting, random, waits, failing),
      budget: new ScratchBudget(this.limitBytes),
      onScratchFull: random.pick(['fail-view', 'fail-writer']),
      onFailure: (errno) => void this.failures.push(errno),
    });
    this.detach = filter.attach(this.snapshot);
  }

  /** Whether the policy allows a write to the disk to fail. */
  get mayFailWriters(): boolean {
    return this.mayFail && this.failures.length === 0;
  }

  async read(offset: number, length: number): Promise<void> {
    const goneBefore = this.isReleased(offset, length, 2) || this.ended;
    const target = Buffer.alloc(length, 0xee);
    const view = this.snapshot.device;
    let errno: Errno = this.random.chance(3) ? WOULD_BLOCK : view.readNow(target, 0, length, offset);
    if (errno === WOULD_BLOCK) errno = await view.read(target, 0, length, offset);
    if (errno === OK) {
      assert(!goneBefore, 'what is gone cannot be read');
      assert(target.equals(this.before.subarray(offset, offset + length)), 'the view has changed');
    } else {
      assert(errno === EIO, `a read gave ${errno}`);
      assert(this.isReleased(offset, length, 1) || this.ended, 'a view that is well can be read');
    }
  }

  async survey(offset: number, length: number): Promise<void> {
    if (!this.ended) this.assertZeroes(offset, this.snapshot.device.holeNow(offset, length));
    const list = new ExtentList(this.random.pick([1, 2, 100]));
    const errno = await this.snapshot.device.extents(offset, length, list);
    if (errno !== OK) return assert(errno === EIO && this.ended, `the allocation gave ${errno}`);
    eachExtent(list, length, (at, bytes, status) => {
      if (status !== 0) this.assertZeroes(offset + at, bytes);
    });
  }

  /** Reads the live disk as another program would, then asks which parts of it belong to the view. */
  async readLive(offset: number, length: number): Promise<void> {
    const target = Buffer.alloc(length, 0xee);
    // In two pieces, so that writes can happen in between.
    const firstBytes = this.random.below(length + 1);
    assert((await this.source.read(target, 0, firstBytes, offset)) === OK, 'the live disk can be read');
    const restBytes = length - firstBytes;
    assert((await this.source.read(target, firstBytes, restBytes, offset + firstBytes)) === OK, 'and the rest of it');
    await this.waits.some();
    const list = new ExtentList(this.random.pick([1, 2, 100]));
    const errno = this.snapshot.overwritten(offset, length, list);
    if (errno !== OK) return assert(errno === EIO && this.ended, `what is overwritten gave ${errno}`);
    assert(!this.ended, 'nobody knows what is overwritten once the view has ended');
    eachExtent(list, length, (at, bytes, status) => {
      if (status === OVERWRITTEN) return;
      const same = target.subarray(at, at + bytes).equals(this.before.subarray(offset + at, offset + at + bytes));
      assert(same, 'the live disk has changed, and is not called overwritten');
    });
  }

  async release(offset: number, length: number): Promise<void> {
    const from = Math.ceil(offset / this.granule);
    const toEnd = offset + length === this.before.length;
    const end = toEnd ? this.released.length : Math.floor((offset + length) / this.granule);
    const mark = (level: number) => {
      for (let i = from; i < end; i++) this.released[i] = Math.max(level, this.released[i]!);
    };
    mark(1);
    const errno = await this.snapshot.release(offset, length);
    if (errno === OK) mark(2);
    else assert(this.ended, `a release gave ${errno}`);
  }

  async close(): Promise<void> {
    this.closed = true;
    this.detach();
    await this.snapshot.close();
  }

  /** Call this when nothing is in flight. */
  async checkAtEnd(): Promise<void> {
    await this.read(0, this.before.length);
    for (let offset = 0; offset < this.before.length; offset += 4 * KIB) {
      await this.read(offset, Math.min(4 * KIB, this.before.length - offset));
    }
    await this.survey(0, this.before.length);
    assert(this.snapshot.usedBytes >= 0 && this.snapshot.usedBytes <= this.limitBytes, 'scratch keeps to its limit');
    assert(this.failures.length <= 1, 'a view breaks once');
    if (this.mayFail) return;
    assert(this.failures.length === 0, 'a view does not break without a cause');
    assert(this.counting.writtenBytes <= this.before.length, 'each granule is copied once');
  }

  private get ended(): boolean {
    return this.closed || this.failures.length > 0;
  }

  private isReleased(offset: number, length: number, level: number): boolean {
    const from = Math.floor(offset / this.granule);
    const end = Math.ceil((offset + length) / this.granule);
    return length > 0 && this.released.subarray(from, end).some((reached) => reached >= level);
  }

  private assertZeroes(offset: number, length: number): void {
    const bytes = this.before.subarray(offset, offset + length);
    assert(bytes.equals(Buffer.alloc(length)), 'a hole is shown where there was data');
  }
}

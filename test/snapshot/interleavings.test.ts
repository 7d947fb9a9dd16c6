import { setImmediate as nextTurn } from 'node:timers/promises';
import * as fc from 'fast-check';
import { expect, it, onTestFinished } from 'vitest';
import { assert } from '../../src/base/assert.js';
import { EIO, ENOSPC, type Errno, OK, WOULD_BLOCK } from '../../src/base/errno.js';
import { KIB } from '../../src/base/units.js';
import { Copies } from '../../src/snapshot/copies.js';
import { CopyBeforeWrite } from '../../src/snapshot/copy-before-write.js';
import { OldData } from '../../src/snapshot/old-data.js';
import { ViewDevice } from '../../src/snapshot/view-device.js';
import { WriteGate } from '../../src/storage/device/write-gate.js';
import { contentOf } from '../support/device-content.js';
import { JitteryDevice, Waits } from '../support/jittery-device.js';
import { MemoryDevice } from '../support/memory-device.js';
import { propertyRuns } from '../support/property.js';
import { Random } from '../support/random.js';
import { ObservedSnapshot } from './observed-snapshot.js';

/** Several chunks of the memory device, with a shorter last granule. */
const DISK_BYTES = 6 * 64 * KIB + 512;
const STEPS = 200;
const MAX_SNAPSHOTS = 3;

interface Range {
  readonly offset: number;
  readonly length: number;
}

/** A disk under random traffic, with snapshots that come and go, checked against plain copies of it. */
class Trial {
  private readonly random: Random;
  private readonly waits: Waits;
  private readonly memory = new MemoryDevice(DISK_BYTES);
  private readonly disk: JitteryDevice;
  private readonly filter: CopyBeforeWrite;
  private readonly gate: WriteGate;
  private readonly live = Buffer.alloc(DISK_BYTES);
  private readonly changing = new Set<Range>();
  private readonly snapshots: ObservedSnapshot[] = [];
  private readonly running = new Set<Promise<void>>();
  private failure: unknown;
  private attaching = false;

  constructor(seed: number, Filter: typeof CopyBeforeWrite) {
    this.random = new Random(seed);
    this.waits = new Waits(this.random);
    this.disk = new JitteryDevice(this.memory, this.random, this.waits);
    this.filter = new Filter(this.disk);
    this.gate = new WriteGate(this.filter);
  }

  async run(): Promise<void> {
    for (let step = 0; step < STEPS && this.failure === undefined; step++) {
      if (this.random.chance(2)) this.start(() => this.act());
      else this.waits.next();
      await nextTurn();
    }
    await this.settle();
    for (const snapshot of this.snapshots) this.start(() => snapshot.checkAtEnd());
    await this.settle();
    assert((await contentOf(this.memory)).equals(this.live), 'the disk has what was written');
  }

  private start(work: () => Promise<void>): void {
    const run = work()
      .catch((error) => {
        this.failure ??= error;
      })
      .finally(() => this.running.delete(run));
    this.running.add(run);
  }

  private async settle(): Promise<void> {
    while (this.running.size > 0 && this.failure === undefined) {
      this.waits.next();
      await nextTurn();
    }
    if (this.failure !== undefined) throw this.failure;
  }

  private async act(): Promise<void> {
    const kind = this.random.below(14);
    const { offset, length } = this.range();
    if (kind < 5) return this.change(offset, length);
    if (kind === 5 && this.snapshots.length < MAX_SNAPSHOTS && !this.attaching) return this.attach();
    if (this.snapshots.length === 0) return;
    const snapshot = this.random.pick(this.snapshots);
    if (kind < 9) return snapshot.read(offset, length);
    if (kind < 11) return snapshot.survey(offset, length);
    if (kind < 13) return snapshot.readLive(offset, length);
    if (this.random.chance(6)) return snapshot.close();
    return snapshot.release(offset, length);
  }

  private range(): Range {
    const unit = this.random.pick([1, 512, 4 * KIB]);
    const offset = this.random.below(DISK_BYTES / unit) * unit;
    const most = Math.min(DISK_BYTES - offset, this.random.pick([4, 40, 400]) * KIB);
    const length = 1 + this.random.below(most);
    return { offset, length: this.random.chance(3) ? most : length };
  }

  /** Changes a range in which no other change is in flight; otherwise its content afterwards would be unpredictable. */
  private async change(offset: number, length: number): Promise<void> {
    for (const other of this.changing) {
      if (offset < other.offset + other.length && other.offset < offset + length) return;
    }
    const range = { offset, length };
    this.changing.add(range);
    const fill = this.random.chance(2) ? 1 + this.random.below(255) : 0;
    const errno = await (fill === 0 ? this.clear(range) : this.write(range, fill));
    this.changing.delete(range);
    if (errno === OK) this.live.fill(fill, offset, offset + length);
    else assert([EIO, ENOSPC].includes(errno) && this.snapshots.some((s) => s.mayFailWriters), `a write gave ${errno}`);
  }

  private async write({ offset, length }: Range, fill: number): Promise<Errno> {
    const data = Buffer.alloc(length, fill);
    const errno = this.gate.writeNow(data, 0, length, offset);
    return errno === WOULD_BLOCK ? this.gate.write(data, 0, length, offset) : errno;
  }

  private clear({ offset, length }: Range): Promise<Errno> {
    if (this.random.chance(2)) return this.gate.trim(offset, length);
    return this.gate.zero(offset, length, { keepAllocated: this.random.chance(2), fastOnly: false });
  }

  private async attach(): Promise<void> {
    this.attaching = true;
    await this.gate.quiesce();
    const before = await contentOf(this.memory);
    this.snapshots.push(new ObservedSnapshot(this.disk, this.filter, before, this.random, this.waits));
    this.gate.resume();
    this.attaching = false;
  }
}

const seeds = fc.noShrink(fc.integer({ min: 1, max: 2 ** 31 }));

it('a view never changes, whatever happens to the disk in whatever order', async () => {
  const property = fc.asyncProperty(seeds, (seed) => new Trial(seed, CopyBeforeWrite).run());
  await fc.assert(property, propertyRuns(150));
});

/** The failure of the first seed that fails; undefined if none of many does. */
async function complaint(Filter: typeof CopyBeforeWrite = CopyBeforeWrite): Promise<string | undefined> {
  for (let seed = 1; seed <= 100; seed++) {
    try {
      await new Trial(seed, Filter).run();
    } catch (error) {
      return (error as Error).message;
    }
  }
  return undefined;
}

function replace<Made extends object, Name extends keyof Made>(made: Made, name: Name, method: Made[Name]): void {
  const original = made[name];
  made[name] = method;
  onTestFinished(() => {
    made[name] = original;
  });
}

it('catches a filter that lets the change go first', async () => {
  class TooLate extends CopyBeforeWrite {
    override writeNow(source: Buffer, start: number, length: number, offset: number): Errno {
      const errno = this.inner.writeNow(source, start, length, offset);
      return errno === OK ? super.writeNow(source, start, length, offset) : errno;
    }

    override async write(source: Buffer, start: number, length: number, offset: number): Promise<Errno> {
      return (await this.inner.write(source, start, length, offset)) || super.write(source, start, length, offset);
    }
  }
  expect(await complaint(TooLate)).toMatch(/has changed/);
});

it('catches a view that does not check again after waiting', async () => {
  const { read } = ViewDevice.prototype;
  replace(ViewDevice.prototype, 'read', function (this: ViewDevice, target, start, length, offset) {
    const { source, pieces, ended } = (this as unknown as { old: OldData }).old;
    const allLive = !pieces.isSettled(offset) && pieces.endOfState(false, offset, offset + length) === offset + length;
    if (allLive && !ended) return source.read(target, start, length, offset);
    return read.call(this, target, start, length, offset);
  });
  expect(await complaint()).toBe('the view has changed');
});

it('catches a list that misses overwritten granules', async () => {
  replace(OldData.prototype, 'overwritten', function (this: OldData, _offset, length, list) {
    if (this.ended) return EIO;
    list.add(length, 0);
    return OK;
  });
  expect(await complaint()).toBe('the live disk has changed, and is not called overwritten');
});

it('catches writers that do not wait for a copy in flight', async () => {
  replace(Copies.prototype, 'within', () => []);
  expect(await complaint()).toMatch(/view has changed|copied once/);
});

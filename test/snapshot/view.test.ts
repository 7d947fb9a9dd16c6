import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { EIO, EPERM, OK, WOULD_BLOCK } from '../../src/base/errno.js';
import { ExtentList } from '../../src/base/extents.js';
import { KIB } from '../../src/base/units.js';
import { CopyBeforeWrite } from '../../src/snapshot/copy-before-write.js';
import { allocationOf, contentOf, expectSame } from '../support/device-content.js';
import { MemoryDevice } from '../support/memory-device.js';
import { filled, GRANULE, GRANULES, snapshotOf, snapshottedDisk } from '../support/snapshots.js';

const HOLE = 3;
const DATA = 0;

/** A disk whose asynchronous reads and allocation queries can be held up before they look at the data. */
class LateDisk extends MemoryDevice {
  private readonly held: (() => void)[] = [];
  holding = false;

  goOn(): void {
    for (const proceed of this.held.splice(0)) proceed();
  }

  override async read(...call: Parameters<MemoryDevice['read']>) {
    await this.wait();
    return super.read(...call);
  }

  override async extents(...call: Parameters<MemoryDevice['extents']>) {
    await this.wait();
    return super.extents(...call);
  }

  private wait(): Promise<void> | undefined {
    return this.holding ? new Promise((resolve) => this.held.push(resolve)) : undefined;
  }
}

function lateDisk() {
  const disk = new LateDisk(GRANULES * GRANULE);
  disk.writeNow(filled(2 * GRANULE, 'a'), 0, 2 * GRANULE, 0);
  const filter = new CopyBeforeWrite(disk);
  const made = snapshotOf(disk);
  filter.attach(made.snapshot);
  disk.holding = true;
  return { ...made, disk, filter };
}

function late() {
  const disk = lateDisk();
  const target = Buffer.alloc(4 * GRANULE, '-');
  return { ...disk, target, read: () => disk.view.read(target, 0, 4 * GRANULE, 0) };
}

const expectedStart = Buffer.concat([filled(2 * GRANULE, 'a'), Buffer.alloc(2 * GRANULE)]);

describe('a view', () => {
  it('is read-only', async () => {
    const { view } = snapshottedDisk();
    expect(view.capabilities).toEqual({ readOnly: true, rotational: false, trim: false, fastZero: false });
    expect(view.writeNow(filled(512), 0, 512, 0)).toBe(EPERM);
    expect(await view.write(filled(512), 0, 512, 0)).toBe(EPERM);
    expect(await view.zero(0, 512, { keepAllocated: false, fastOnly: false })).toBe(EPERM);
    expect(await view.trim(0, 512)).toBe(EPERM);
    expect(await view.flush()).toBe(OK);
    expect(await view.cache(0, 512)).toBe(OK);
    await view.close();
  });

  it('reads ranges that lie partly in scratch, at any alignment, at once or waiting', async () => {
    const { view, filter, before } = snapshottedDisk();
    for (const granule of [1, 2, 5]) filter.writeNow(filled(512), 0, 512, granule * GRANULE + 777);
    const ranges = [
      [0, GRANULES * GRANULE],
      [GRANULE - 1, 2],
      [GRANULE + 700, 4 * GRANULE],
      [3 * GRANULE - 1, 1],
      [5 * GRANULE + 1, 0],
    ] as const;
    for (const [offset, length] of ranges) {
      const target = Buffer.alloc(length + 6, '-');
      expect(view.readNow(target, 3, length, offset)).toBe(OK);
      expect(target.subarray(3, 3 + length).equals(before.subarray(offset, offset + length))).toBe(true);
      const later = Buffer.alloc(length + 6, '-');
      expect(await view.read(later, 3, length, offset)).toBe(OK);
      expectSame(later, target);
      expect(`${later.subarray(0, 3)}${later.subarray(length + 3)}`).toBe('------');
    }
  });

  it('counts each read once', async () => {
    const { view, snapshot, disk } = snapshottedDisk();
    await contentOf(view);
    disk.deferAll(true);
    await contentOf(view);
    expect(snapshot.reads).toBe(2);
  });

  it('answers WOULD_BLOCK if part of a read has to wait', () => {
    const { view, filter, disk, scratch } = snapshottedDisk();
    filter.writeNow(filled(512), 0, 512, 0);
    disk.deferAll(true);
    expect(view.readNow(Buffer.alloc(2 * GRANULE), 0, 2 * GRANULE, 0)).toBe(WOULD_BLOCK);
    expect(view.readNow(Buffer.alloc(GRANULE), 0, GRANULE, 0)).toBe(OK);
    scratch.deferAll(true);
    expect(view.readNow(Buffer.alloc(GRANULE), 0, GRANULE, 0)).toBe(WOULD_BLOCK);
  });

  it('returns the error of the device that holds the range', async () => {
    const { view, filter, disk, scratch } = snapshottedDisk();
    filter.writeNow(filled(512), 0, 512, 0);
    scratch.fail('read', EIO);
    expect(view.readNow(Buffer.alloc(512), 0, 512, 0)).toBe(EIO);
    expect(await view.read(Buffer.alloc(512), 0, 512, 0)).toBe(EIO);
    expect(await view.read(Buffer.alloc(512), 0, 512, GRANULE)).toBe(OK);
    disk.fail('extents', EIO);
    expect(await view.extents(GRANULE, GRANULE, new ExtentList(9))).toBe(EIO);
  });
});

describe('a read of the view that waited', () => {
  it('is repeated from scratch where the disk was written to in the meantime', async () => {
    const { read, target, disk, filter } = late();
    const reading = read();
    expect(filter.writeNow(filled(1024, 'X'), 0, 1024, GRANULE)).toBe(OK);
    disk.goOn();
    disk.holding = false;
    expect(await reading).toBe(OK);
    expectSame(target, expectedStart);
  });

  it('is repeated as often as needed', async () => {
    const { read, target, disk, filter } = late();
    const reading = read();
    for (const granule of [3, 1, 0]) {
      filter.writeNow(filled(1024, 'X'), 0, 1024, granule * GRANULE);
      await nextTurn();
      disk.goOn();
    }
    disk.holding = false;
    await nextTurn();
    disk.goOn();
    expect(await reading).toBe(OK);
    expectSame(target, expectedStart);
  });

  it('fails with EIO if its range was released or the view was closed in the meantime', async () => {
    for (const end of ['release', 'close'] as const) {
      const { read, disk, snapshot } = late();
      const reading = read();
      await (end === 'release' ? snapshot.release(0, GRANULE) : snapshot.close());
      disk.goOn();
      expect(await reading).toBe(EIO);
    }
  });

  it('from scratch fails with EIO if its range was released', async () => {
    const { view, filter, scratch, snapshot } = snapshottedDisk();
    filter.writeNow(filled(512), 0, 512, 0);
    scratch.hold();
    const reading = view.read(Buffer.alloc(GRANULE), 0, GRANULE, 0);
    const releasing = snapshot.release(0, GRANULE);
    await nextTurn();
    scratch.release();
    expect(await Promise.all([reading, releasing])).toEqual([EIO, OK]);
  });
});

describe('the allocation of a view', () => {
  function partlyAllocated() {
    const disk = new MemoryDevice(GRANULES * GRANULE);
    disk.writeNow(filled(3 * GRANULE, 'a'), 0, 3 * GRANULE, GRANULE);
    const filter = new CopyBeforeWrite(disk);
    const made = snapshotOf(disk);
    filter.attach(made.snapshot);
    return { ...made, disk, filter };
  }
  const asAttached = [
    [GRANULE, HOLE],
    [3 * GRANULE, DATA],
    [4 * GRANULE, HOLE],
  ];

  it('is that of the disk at the time of attaching, whatever is written or trimmed', async () => {
    const { view, filter, disk } = partlyAllocated();
    expect(await allocationOf(view)).toEqual(asAttached);
    filter.writeNow(filled(8 * GRANULE), 0, 8 * GRANULE, 0);
    expect(await allocationOf(view)).toEqual(asAttached);
    await filter.trim(0, 8 * GRANULE);
    expect(await allocationOf(disk)).toEqual([[8 * GRANULE, HOLE]]);
    expect(await allocationOf(view)).toEqual(asAttached);
    expect(await allocationOf(view, GRANULE - 512, 1024)).toEqual([
      [512, HOLE],
      [512, DATA],
    ]);
  });

  it('fills the list up to its limit', async () => {
    const { view, filter } = partlyAllocated();
    filter.writeNow(filled(512), 0, 512, 2 * GRANULE);
    expect(await allocationOf(view, 0, 8 * GRANULE, 1)).toEqual(asAttached.slice(0, 1));
    expect(await allocationOf(view, 0, 8 * GRANULE, 2)).toEqual(asAttached.slice(0, 2));
    expect(await allocationOf(view, 0, 8 * GRANULE, 3)).toEqual(asAttached);
  });

  it('knows holes at once, in the disk and in scratch', async () => {
    const { view, filter } = partlyAllocated();
    expect(view.holeNow(0, 8 * GRANULE)).toBe(GRANULE);
    expect(view.holeNow(GRANULE, GRANULE)).toBe(0);
    expect(view.holeNow(4 * GRANULE + 512, GRANULE)).toBe(GRANULE);
    filter.writeNow(filled(512), 0, 512, 5 * GRANULE);
    await filter.trim(0, 2 * GRANULE);
    expect(view.holeNow(4 * GRANULE, 4 * GRANULE)).toBe(4 * GRANULE);
    expect(view.holeNow(0, 8 * GRANULE)).toBe(GRANULE);
    expect(view.holeNow(GRANULE, GRANULE)).toBe(0);
  });

  it('is checked again after waiting: a range trimmed in the meantime is still data', async () => {
    const { view, disk, filter } = lateDisk();
    const list = new ExtentList(10);
    const asking = view.extents(0, GRANULES * GRANULE, list);
    expect(await filter.trim(0, GRANULE)).toBe(OK);
    disk.goOn();
    disk.holding = false;
    expect(await asking).toBe(OK);
    expect([list.lengths, list.statuses]).toEqual([
      [2 * GRANULE, 6 * GRANULE],
      [DATA, HOLE],
    ]);
  });

  it('stops asking the disk when the list is full', async () => {
    const { view, disk } = snapshottedDisk();
    await disk.trim(4 * GRANULE, GRANULE);
    expect(await allocationOf(view, 0, GRANULES * GRANULE, 2)).toHaveLength(2);
    expect(disk.calls.filter((call) => call === 'extents')).toHaveLength(1);
  });

  it('fails with EIO if the view was closed while it waited', async () => {
    const { view, disk, snapshot } = lateDisk();
    const asking = view.extents(0, GRANULE, new ExtentList(1));
    await snapshot.close();
    disk.goOn();
    expect(await asking).toBe(EIO);
  });

  it('is data in released ranges, and EIO once the view is closed', async () => {
    const { view, filter, snapshot } = partlyAllocated();
    filter.writeNow(filled(512), 0, 512, 2 * GRANULE);
    await snapshot.release(2 * GRANULE, 4 * GRANULE);
    expect(await allocationOf(view)).toEqual([
      [GRANULE, HOLE],
      [5 * GRANULE, DATA],
      [2 * GRANULE, HOLE],
    ]);
    expect(view.holeNow(5 * GRANULE, GRANULE)).toBe(0);
    await snapshot.close();
    expect(await view.extents(0, GRANULE, new ExtentList(1))).toBe(EIO);
    expect(view.holeNow(7 * GRANULE, GRANULE)).toBe(0);
  });
});

describe('releasing', () => {
  const status = (view: { readNow: ReturnType<typeof snapshottedDisk>['view']['readNow'] }) =>
    Array.from({ length: GRANULES }, (_, i) => view.readNow(Buffer.alloc(512), 0, 512, (i + 1) * GRANULE - 512));

  it('gives up whole granules inside the range; reading any byte of them fails with EIO', async () => {
    const { view, snapshot } = snapshottedDisk();
    expect(await snapshot.release(GRANULE - 1, 2 * GRANULE + 2)).toBe(OK);
    expect(status(view)).toEqual([OK, EIO, EIO, OK, OK, OK, OK, OK]);
    expect(await snapshot.release(5 * GRANULE + 1, GRANULE)).toBe(OK);
    expect(status(view)).toEqual([OK, EIO, EIO, OK, OK, OK, OK, OK]);
    expect(view.readNow(Buffer.alloc(4 * KIB), 0, 4 * KIB, GRANULE - 2 * KIB)).toBe(EIO);
    expect(await view.read(Buffer.alloc(4 * KIB), 0, 4 * KIB, GRANULE - 2 * KIB)).toBe(EIO);
  });

  it('frees each byte of scratch once', async () => {
    const { filter, snapshot, scratch } = snapshottedDisk();
    filter.writeNow(filled(3 * GRANULE), 0, 3 * GRANULE, GRANULE);
    expect(await snapshot.release(0, 3 * GRANULE)).toBe(OK);
    expect(snapshot.usedBytes).toBe(GRANULE);
    expect(await allocationOf(scratch)).toEqual([
      [3 * GRANULE, HOLE],
      [GRANULE, DATA],
      [4 * GRANULE, HOLE],
    ]);
    expect(await snapshot.release(0, 8 * GRANULE)).toBe(OK);
    expect(await snapshot.release(0, 8 * GRANULE)).toBe(OK);
    expect(snapshot.usedBytes).toBe(0);
    expect(scratch.calls.filter((call) => call === 'trim')).toHaveLength(2);
  });

  it('spares writers the copy', async () => {
    const { filter, snapshot, scratch } = snapshottedDisk();
    await snapshot.release(0, 2 * GRANULE);
    filter.writeNow(filled(2 * GRANULE), 0, 2 * GRANULE, 0);
    expect(scratch.calls).toEqual([]);
  });

  it('includes the last granule, which ends with the disk', async () => {
    const disk = new MemoryDevice(GRANULE + 512);
    disk.writeNow(filled(512), 0, 512, GRANULE);
    const filter = new CopyBeforeWrite(disk);
    const { snapshot, view } = snapshotOf(disk);
    filter.attach(snapshot);
    filter.writeNow(filled(512), 0, 512, GRANULE);
    expect(await snapshot.release(GRANULE, 512)).toBe(OK);
    expect(snapshot.usedBytes).toBe(0);
    expect(view.readNow(Buffer.alloc(512), 0, 512, GRANULE)).toBe(EIO);
  });

  it('a granule that is being copied frees the copy too, and its writer carries on', async () => {
    const { filter, snapshot, scratch } = snapshottedDisk();
    scratch.hold();
    const writing = filter.write(filled(512), 0, 512, 0);
    await nextTurn();
    const releasing = snapshot.release(0, GRANULE);
    await nextTurn();
    scratch.release();
    expect(await Promise.all([writing, releasing])).toEqual([OK, OK]);
    expect(snapshot.usedBytes).toBe(0);
    expect(await allocationOf(scratch)).toEqual([[8 * GRANULE, HOLE]]);
  });

  it('reports when scratch cannot be trimmed or the view is closed', async () => {
    const { filter, snapshot, scratch } = snapshottedDisk();
    filter.writeNow(filled(512), 0, 512, 0);
    scratch.failNext('trim', EIO);
    expect(await snapshot.release(0, GRANULE)).toBe(EIO);
    expect(snapshot.usedBytes).toBe(GRANULE);
    await snapshot.close();
    expect(await snapshot.release(0, GRANULE)).toBe(EIO);
  });
});

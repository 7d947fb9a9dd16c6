import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { OK, WOULD_BLOCK } from '../../src/base/errno.js';
import { KIB, MIB } from '../../src/base/units.js';
import { CopyBeforeWrite } from '../../src/snapshot/copy-before-write.js';
import { FilterDevice } from '../../src/storage/device/filter-device.js';
import { contentOf, expectSame } from '../support/device-content.js';
import { FaultyDevice } from '../support/faulty-device.js';
import { MemoryDevice } from '../support/memory-device.js';
import { changes, filled, GRANULE, GRANULES, HOLE, snapshotOf, snapshottedDisk } from '../support/snapshots.js';

describe.each(changes)('%s', (_what, change) => {
  it('leaves the view unchanged and uses one granule of scratch', async () => {
    const { filter, view, before, snapshot, memory } = snapshottedDisk();
    expect(await change(filter)).toBe(OK);
    expectSame(await contentOf(view), before);
    expect(snapshot.usedBytes).toBe(GRANULE);
    expect((await contentOf(memory)).equals(before)).toBe(false);
  });

  it('reaches the disk only after its granule is in scratch', async () => {
    const { memory, before } = snapshottedDisk();
    const seen: boolean[] = [];
    class Watch extends FilterDevice {
      override writeNow(...call: Parameters<FilterDevice['writeNow']>) {
        look();
        return super.writeNow(...call);
      }
      override write(...call: Parameters<FilterDevice['write']>) {
        look();
        return super.write(...call);
      }
      override zero(...call: Parameters<FilterDevice['zero']>) {
        look();
        return super.zero(...call);
      }
      override trim(...call: Parameters<FilterDevice['trim']>) {
        look();
        return super.trim(...call);
      }
    }
    const { snapshot, scratch } = snapshotOf(memory);
    const look = () => {
      const saved = Buffer.alloc(GRANULE);
      scratch.readNow(saved, 0, GRANULE, GRANULE);
      seen.push(saved.equals(before.subarray(GRANULE, 2 * GRANULE)));
    };
    const filter = new CopyBeforeWrite(new Watch(memory));
    filter.attach(snapshot);
    expect(await change(filter)).toBe(OK);
    expect(seen).toEqual([true]);
  });

  it('goes straight to the disk when no snapshot is attached', async () => {
    const { filter, detach, scratch, disk } = snapshottedDisk();
    detach();
    expect(await change(filter)).toBe(OK);
    expect(scratch.calls).toEqual([]);
    expect(disk.calls).toHaveLength(1);
  });

  it('copies a granule once', async () => {
    const { filter, scratch, view, before } = snapshottedDisk();
    await change(filter);
    await change(filter);
    filter.writeNow(filled(512), 0, 512, 2 * GRANULE - 512);
    expect(scratch.calls).toEqual(['write']);
    expectSame(await contentOf(view), before);
  });
});

describe('copying', () => {
  it('copies neighbours in one piece and skips saved granules', () => {
    const { filter, scratch, snapshot } = snapshottedDisk();
    filter.writeNow(filled(512), 0, 512, 3 * GRANULE);
    filter.writeNow(filled(6 * GRANULE), 0, 6 * GRANULE, GRANULE);
    expect(scratch.calls).toEqual(['write', 'write', 'write']);
    expect(snapshot.usedBytes).toBe(6 * GRANULE);
  });

  it('uses pieces of at most 1 MiB', async () => {
    const memory = new MemoryDevice(4 * MIB);
    memory.writeNow(filled(4 * MIB, 'a'), 0, 4 * MIB, 0);
    const filter = new CopyBeforeWrite(memory);
    const { snapshot, scratch, view } = snapshotOf(memory);
    filter.attach(snapshot);
    expect(filter.writeNow(filled(2 * MIB), 0, 2 * MIB, 512)).toBe(WOULD_BLOCK);
    expect(scratch.calls).toEqual([]);
    expect(await filter.write(filled(2 * MIB), 0, 2 * MIB, 512)).toBe(OK);
    expect(scratch.calls).toEqual(['write', 'write', 'write']);
    expectSame(await contentOf(view), filled(4 * MIB, 'a'));
  });

  it('copies a granule of more than 1 MiB in pieces, but settles it as a whole', async () => {
    const memory = new MemoryDevice(5 * MIB);
    memory.writeNow(filled(5 * MIB, 'a'), 0, 5 * MIB, 0);
    const filter = new CopyBeforeWrite(memory);
    const { snapshot, scratch, view } = snapshotOf(memory, { pieceBytes: 4 * MIB });
    filter.attach(snapshot);
    expect(filter.writeNow(filled(512), 0, 512, 512)).toBe(WOULD_BLOCK);
    expect(await filter.write(filled(512), 0, 512, 512)).toBe(OK);
    expect(scratch.calls).toHaveLength(4);
    expect(await filter.trim(4 * MIB, MIB)).toBe(OK);
    expect(scratch.calls).toHaveLength(5);
    expectSame(await contentOf(view), filled(5 * MIB, 'a'));
  });

  it('ends where the disk ended, even after the disk has grown', async () => {
    const memory = new MemoryDevice(GRANULE + 512);
    memory.writeNow(filled(GRANULE + 512, 'a'), 0, GRANULE + 512, 0);
    const filter = new CopyBeforeWrite(memory);
    const { snapshot, view, scratch } = snapshotOf(memory);
    filter.attach(snapshot);
    memory.resize(4 * GRANULE);
    expect(filter.writeNow(filled(GRANULE), 0, GRANULE, GRANULE + 512)).toBe(OK);
    expect(scratch.calls).toEqual([]);
    expect(filter.writeNow(filled(2 * GRANULE), 0, 2 * GRANULE, GRANULE)).toBe(OK);
    expect(snapshot.usedBytes).toBe(512);
    expect(await filter.trim(2 * GRANULE, 2 * GRANULE)).toBe(OK);
    expectSame(await contentOf(view), filled(GRANULE + 512, 'a'));
  });

  it('copies nothing for a hole', async () => {
    const memory = new MemoryDevice(8 * MIB);
    memory.writeNow(filled(GRANULE, 'a'), 0, GRANULE, 4 * GRANULE);
    const filter = new CopyBeforeWrite(memory);
    const { snapshot, view, scratch } = snapshotOf(memory);
    filter.attach(snapshot);
    const before = await contentOf(memory);
    expect(filter.writeNow(filled(GRANULE), 0, GRANULE, 512)).toBe(OK);
    expect(scratch.calls).toEqual([]);
    expect(await filter.zero(2 * MIB, 6 * MIB, HOLE)).toBe(OK);
    expect(scratch.calls).toEqual([]);
    expect(filter.writeNow(filled(8 * GRANULE), 0, 8 * GRANULE, GRANULE)).toBe(OK);
    expect(snapshot.usedBytes).toBe(GRANULE);
    expectSame(await contentOf(view), before);
  });

  it('copies nothing for a hole in the shorter last granule', async () => {
    const memory = new MemoryDevice(GRANULE + 512);
    const filter = new CopyBeforeWrite(memory);
    const { snapshot, scratch } = snapshotOf(memory);
    filter.attach(snapshot);
    expect(await filter.trim(0, GRANULE + 512)).toBe(OK);
    expect([scratch.calls, snapshot.usedBytes]).toEqual([[], 0]);
  });

  it('copies a granule that is only partly a hole', async () => {
    const memory = new MemoryDevice(4 * GRANULE);
    memory.writeNow(filled(GRANULE, 'a'), 0, GRANULE, GRANULE);
    const filter = new CopyBeforeWrite(memory);
    const { snapshot, view } = snapshotOf(memory, { pieceBytes: 2 * GRANULE });
    filter.attach(snapshot);
    const before = await contentOf(memory);
    expect(filter.writeNow(filled(512), 0, 512, 0)).toBe(OK);
    expect(snapshot.usedBytes).toBe(2 * GRANULE);
    expectSame(await contentOf(view), before);
  });

  it('waits if the disk or scratch has to wait', async () => {
    for (const which of ['disk', 'scratch'] as const) {
      const parts = snapshottedDisk();
      parts[which].deferAll(true);
      expect(parts.filter.writeNow(filled(512), 0, 512, 0)).toBe(WOULD_BLOCK);
      expect(await parts.filter.write(filled(512), 0, 512, 0)).toBe(OK);
      expectSame(await contentOf(parts.view), parts.before);
    }
  });

  it('is shared by writers that arrive while it is in flight', async () => {
    const { filter, scratch, view, before, snapshot, memory } = snapshottedDisk();
    scratch.hold();
    const first = filter.write(filled(512), 0, 512, 0);
    await nextTurn();
    expect(filter.writeNow(filled(512, '?'), 0, 512, 1024)).toBe(WOULD_BLOCK);
    const second = filter.write(filled(512, '?'), 0, 512, 1024);
    const third = filter.write(filled(2 * GRANULE, '*'), 0, 2 * GRANULE, 2048);
    await nextTurn();
    expectSame(await contentOf(memory), before);
    expectSame(await contentOf(view), before);
    scratch.release();
    expect(await Promise.all([first, second, third])).toEqual([OK, OK, OK]);
    expect(scratch.calls.filter((call) => call === 'write')).toHaveLength(2);
    expect(snapshot.usedBytes).toBe(3 * GRANULE);
    expectSame(await contentOf(view), before);
  });

  it('in flight is not overtaken by a newly found hole', async () => {
    const memory = new MemoryDevice(2 * GRANULE);
    const disk = new FaultyDevice(memory);
    let holeKnown = false;
    disk.holeNow = (offset, length) => (holeKnown ? memory.holeNow(offset, length) : 0);
    const filter = new CopyBeforeWrite(disk);
    const { snapshot, view } = snapshotOf(disk);
    filter.attach(snapshot);
    disk.hold();
    const first = filter.write(filled(512, 'a'), 0, 512, 0);
    await nextTurn();
    holeKnown = true;
    const second = filter.write(filled(512, 'b'), 0, 512, 512);
    await nextTurn();
    expect(disk.heldCalls).toBe(1);
    disk.release();
    expect(await Promise.all([first, second])).toEqual([OK, OK]);
    expectSame(await contentOf(view), Buffer.alloc(2 * GRANULE));
  });

  it('of a large range lets writers to the rest of the range go first', async () => {
    const memory = new MemoryDevice(8 * MIB);
    memory.writeNow(filled(8 * MIB, 'a'), 0, 8 * MIB, 0);
    const disk = new FaultyDevice(memory);
    const filter = new CopyBeforeWrite(disk);
    const { snapshot, view } = snapshotOf(disk);
    filter.attach(snapshot);
    disk.hold();
    const large = filter.zero(0, 8 * MIB, HOLE);
    await nextTurn();
    expect(disk.heldCalls).toBe(1);
    const small = filter.write(filled(512), 0, 512, 4 * MIB);
    await nextTurn();
    expect(disk.heldCalls).toBe(2);
    disk.release();
    expect(await Promise.all([large, small])).toEqual([OK, OK]);
    expect(snapshot.usedBytes).toBe(8 * MIB);
    expectSame(await contentOf(view), filled(8 * MIB, 'a'));
  });

  it('stops at the granules of a copy in flight', async () => {
    const { filter, disk, scratch, view, before } = snapshottedDisk();
    disk.hold();
    const first = filter.write(filled(512), 0, 512, 2 * GRANULE);
    const second = filter.write(filled(4 * GRANULE), 0, 4 * GRANULE, 512);
    await nextTurn();
    disk.release();
    expect(await Promise.all([first, second])).toEqual([OK, OK]);
    // Granules 0 and 1, 2, and 3 and 4.
    expect(scratch.calls).toEqual(['write', 'write', 'write']);
    expectSame(await contentOf(view), before);
  });

  it('uses at most 8 MiB of buffers, however many writers there are', async () => {
    const memory = new MemoryDevice(32 * MIB);
    memory.writeNow(filled(32 * MIB, 'a'), 0, 32 * MIB, 0);
    const disk = new FaultyDevice(memory);
    const filter = new CopyBeforeWrite(disk);
    const { snapshot, view } = snapshotOf(disk);
    filter.attach(snapshot);
    disk.hold();
    const writes = Array.from({ length: 32 }, (_, i) => filter.write(filled(MIB), 0, MIB, i * MIB));
    await nextTurn();
    expect(disk.heldCalls).toBe(8);
    disk.release();
    expect(await Promise.all(writes)).toEqual(writes.map(() => OK));
    expectSame(await contentOf(view), filled(32 * MIB, 'a'));
  });
});

describe('several snapshots', () => {
  it('each show the disk as it was when they were attached', async () => {
    const { filter, disk, memory, view, before, detach } = snapshottedDisk();
    filter.writeNow(filled(GRANULE, '1'), 0, GRANULE, 100);
    const second = snapshotOf(disk);
    const secondBefore = await contentOf(memory);
    filter.attach(second.snapshot);
    filter.writeNow(filled(2 * GRANULE, '2'), 0, 2 * GRANULE, 512);
    expectSame(await contentOf(view), before);
    expectSame(await contentOf(second.view), secondBefore);
    detach();
    filter.writeNow(filled(GRANULE, '3'), 0, GRANULE, 5 * GRANULE);
    expectSame(await contentOf(second.view), secondBefore);
  });

  it('all get their copy when one breaks and is detached in the middle of a write', async () => {
    const { filter, disk, memory, before, detach, failures } = snapshottedDisk({ limitBytes: 0 });
    const others = [snapshotOf(disk), snapshotOf(disk)];
    for (const { snapshot } of others) filter.attach(snapshot);
    failures.push = (errno) => {
      detach();
      return errno;
    };
    expect(filter.writeNow(filled(512), 0, 512, 0)).toBe(OK);
    expect(await filter.trim(GRANULE, GRANULE * (GRANULES - 1))).toBe(OK);
    for (const { view } of others) expectSame(await contentOf(view), before);
    expectSame(await contentOf(memory, 0, 512), filled(512));
  });
});

it('reads and allocation queries of the disk itself pass through', async () => {
  const { filter, memory } = snapshottedDisk();
  filter.writeNow(filled(4 * KIB), 0, 4 * KIB, 0);
  expectSame(await contentOf(filter), await contentOf(memory));
});

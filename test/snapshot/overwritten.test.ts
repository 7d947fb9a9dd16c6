import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { EIO, ENOSPC, OK } from '../../src/base/errno.js';
import { ExtentList } from '../../src/base/extents.js';
import { CopyBeforeWrite } from '../../src/snapshot/copy-before-write.js';
import { OVERWRITTEN } from '../../src/snapshot/old-data.js';
import type { Snapshot } from '../../src/snapshot/snapshot.js';
import { contentOf, expectSame } from '../support/device-content.js';
import { MemoryDevice } from '../support/memory-device.js';
import { changes, filled, GRANULE, GRANULES, snapshotOf, snapshottedDisk } from '../support/snapshots.js';

const DISK_BYTES = GRANULES * GRANULE;

/** The extents that `overwritten` returns, as [length, status] pairs. */
function overwrittenOf(snapshot: Snapshot, offset = 0, length = DISK_BYTES - offset, limit = 100): number[][] {
  const list = new ExtentList(limit);
  expect(snapshot.overwritten(offset, length, list)).toBe(OK);
  return list.lengths.map((bytes, index) => [bytes, list.statuses[index]!]);
}

const errnoOf = (snapshot: Snapshot) => snapshot.overwritten(0, DISK_BYTES, new ExtentList(1));

/** Only granule 1 of 8 is overwritten. */
const GRANULE_ONE = [
  [GRANULE, 0],
  [GRANULE, OVERWRITTEN],
  [6 * GRANULE, 0],
];

describe.each(changes)('%s', (_what, change) => {
  it('overwrites the granules that it touches', async () => {
    const { filter, snapshot } = snapshottedDisk();
    expect(overwrittenOf(snapshot)).toEqual([[DISK_BYTES, 0]]);
    expect(await change(filter)).toBe(OK);
    expect(overwrittenOf(snapshot)).toEqual(GRANULE_ONE);
  });

  it('has marked them as overwritten by the time it reaches the disk, even if it fails there', async () => {
    const { disk, snapshot, filter } = snapshottedDisk();
    const seen: unknown[] = [];
    const look = () => {
      seen.push(overwrittenOf(snapshot));
      return EIO;
    };
    disk.writeNow = look;
    for (const call of ['write', 'zero', 'trim'] as const) disk[call] = async () => look();
    expect(await change(filter)).toBe(EIO);
    expect(seen).toEqual([GRANULE_ONE]);
  });

  it('overwrites a hole too, although nothing is copied', async () => {
    const disk = new MemoryDevice(DISK_BYTES);
    const filter = new CopyBeforeWrite(disk);
    const { snapshot } = snapshotOf(disk);
    filter.attach(snapshot);
    await change(filter);
    expect([overwrittenOf(snapshot), snapshot.usedBytes]).toEqual([GRANULE_ONE, 0]);
  });
});

it('a granule counts as overwritten once its copy is complete, and only then does its writer continue', async () => {
  const { filter, scratch, snapshot, memory, before } = snapshottedDisk();
  scratch.hold();
  const writing = filter.write(filled(512), 0, 512, GRANULE);
  await nextTurn();
  expect(overwrittenOf(snapshot)).toEqual([[DISK_BYTES, 0]]);
  expectSame(await contentOf(memory), before);
  scratch.release();
  expect(await writing).toBe(OK);
  expect(overwrittenOf(snapshot)).toEqual(GRANULE_ONE);
});

it('released granules count as overwritten, because they are no longer tracked', async () => {
  const { filter, snapshot } = snapshottedDisk();
  filter.writeNow(filled(512), 0, 512, 2 * GRANULE);
  expect(await snapshot.release(GRANULE, GRANULE)).toBe(OK);
  expect(overwrittenOf(snapshot)).toEqual([
    [GRANULE, 0],
    [2 * GRANULE, OVERWRITTEN],
    [5 * GRANULE, 0],
  ]);
});

it('any range can be queried, up to the limit of the list', () => {
  const { filter, snapshot } = snapshottedDisk();
  filter.writeNow(filled(512), 0, 512, GRANULE);
  expect(overwrittenOf(snapshot, GRANULE - 1, 2)).toEqual([
    [1, 0],
    [1, OVERWRITTEN],
  ]);
  expect(overwrittenOf(snapshot, GRANULE + 7, 100)).toEqual([[100, OVERWRITTEN]]);
  expect(overwrittenOf(snapshot, 0, DISK_BYTES, 2)).toEqual(GRANULE_ONE.slice(0, 2));
});

it('on a disk that has grown, only the range of the view can be queried', async () => {
  const memory = new MemoryDevice(GRANULE + 512);
  const filter = new CopyBeforeWrite(memory);
  const { snapshot } = snapshotOf(memory);
  filter.attach(snapshot);
  memory.resize(4 * GRANULE);
  filter.writeNow(filled(512), 0, 512, GRANULE + 512);
  expect(overwrittenOf(snapshot, 0, GRANULE + 512)).toEqual([[GRANULE + 512, 0]]);
  filter.writeNow(filled(GRANULE), 0, GRANULE, GRANULE);
  expect(overwrittenOf(snapshot, 0, GRANULE + 512)).toEqual([
    [GRANULE, 0],
    [512, OVERWRITTEN],
  ]);
});

it('a write that fails because scratch is full leaves its granule not overwritten', () => {
  const { filter, snapshot } = snapshottedDisk({ limitBytes: 0, onScratchFull: 'fail-writer' });
  expect(filter.writeNow(filled(512), 0, 512, GRANULE)).toBe(ENOSPC);
  expect(overwrittenOf(snapshot)).toEqual([[DISK_BYTES, 0]]);
});

it('the query fails with EIO once the view is broken, before the write that broke it reaches the disk', () => {
  const { filter, disk, snapshot } = snapshottedDisk({ limitBytes: 0 });
  const seen: number[] = [];
  disk.writeNow = () => {
    seen.push(errnoOf(snapshot));
    return OK;
  };
  expect(filter.writeNow(filled(512), 0, 512, GRANULE)).toBe(OK);
  expect(seen).toEqual([EIO]);
});

it.each(['detached', 'closed'] as const)('the query fails with EIO as soon as the snapshot is %s', async (how) => {
  const { snapshot, view, detach } = snapshottedDisk();
  const ending = how === 'closed' ? snapshot.close() : detach();
  expect(errnoOf(snapshot)).toBe(EIO);
  expect(view.readNow(Buffer.alloc(512), 0, 512, 0)).toBe(EIO);
  await ending;
});

it('each query counts as a read of the view', () => {
  const { snapshot } = snapshottedDisk();
  overwrittenOf(snapshot);
  expect(snapshot.reads).toBe(1);
});

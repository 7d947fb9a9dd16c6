import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { EIO, ENOSPC, OK } from '../../src/base/errno.js';
import type { BlockDevice } from '../../src/storage/device/block-device.js';
import { contentOf, expectSame } from '../support/device-content.js';
import { filled, GRANULE, GRANULES, snapshottedDisk } from '../support/snapshots.js';

const readOf = (view: BlockDevice, granule: number) => view.readNow(Buffer.alloc(512), 0, 512, granule * GRANULE);

/** Writes a few bytes to a granule, at once or waiting. */
const writers = {
  'at once': async (device: BlockDevice, granule: number) => device.writeNow(filled(512), 0, 512, granule * GRANULE),
  waiting: (device: BlockDevice, granule: number) => device.write(filled(512), 0, 512, granule * GRANULE),
};

/** The error that stops the third copy. */
const causes = {
  'the limit': { limitBytes: 2 * GRANULE, fault: undefined, errno: ENOSPC },
  'full scratch': { limitBytes: Number.POSITIVE_INFINITY, fault: ['scratch', 'write', ENOSPC], errno: ENOSPC },
  'failing scratch': { limitBytes: Number.POSITIVE_INFINITY, fault: ['scratch', 'write', EIO], errno: EIO },
  'a disk that cannot be read': { limitBytes: Number.POSITIVE_INFINITY, fault: ['disk', 'read', EIO], errno: EIO },
} as const;

const cases = Object.keys(writers).flatMap((writer) =>
  Object.keys(causes).map((cause) => ({
    writer: writer as keyof typeof writers,
    cause: cause as keyof typeof causes,
  })),
);

async function stopped(writer: keyof typeof writers, cause: keyof typeof causes, policy: 'fail-view' | 'fail-writer') {
  const { limitBytes, fault, errno } = causes[cause];
  const parts = snapshottedDisk({ limitBytes, onScratchFull: policy });
  const write = (granule: number) => writers[writer](parts.filter, granule);
  expect([await write(0), await write(1)]).toEqual([OK, OK]);
  if (fault) parts[fault[0]].fail(fault[1], fault[2]);
  const mend = () => void (fault && parts[fault[0]].fail(fault[1], OK));
  return { ...parts, errno, write, mend };
}

describe.each(cases)('$cause, met by a writer $writer', ({ writer, cause }) => {
  it('breaks the view once and for good, and writers carry on', async () => {
    const { view, write, failures, errno, memory, mend, scratch, snapshot } = await stopped(writer, cause, 'fail-view');
    expect(await write(2)).toBe(OK);
    expect(failures).toEqual([errno]);
    mend();
    expect([await write(3), await write(4)]).toEqual([OK, OK]);
    expect(failures).toEqual([errno]);
    for (const granule of [0, 2, 5]) expect(readOf(view, granule)).toBe(EIO);
    expect(await view.read(Buffer.alloc(512), 0, 512, 5 * GRANULE)).toBe(EIO);
    expectSame(await contentOf(memory, 2 * GRANULE, 512), filled(512));
    const copies = scratch.calls.length;
    await write(6);
    expect(scratch.calls.length).toBe(copies);
    expect(await snapshot.release(0, GRANULES * GRANULE)).toBe(EIO);
  });

  it('fails the write before anything is written, and the view stays intact', async () => {
    const { view, write, failures, errno, before, memory, mend, snapshot } = await stopped(
      writer,
      cause,
      'fail-writer',
    );
    expect(await write(2)).toBe(errno);
    expect(snapshot.usedBytes).toBe(2 * GRANULE);
    mend();
    expectSame(await contentOf(memory, 2 * GRANULE), before.subarray(2 * GRANULE));
    expectSame(await contentOf(view), before);
    expect([await write(0), await write(1)]).toEqual([OK, OK]);
    expect(failures).toEqual([]);
    // Freed space can be used again.
    expect(await snapshot.release(0, GRANULE)).toBe(OK);
    expect(await write(2)).toBe(OK);
    expectSame(await contentOf(view, GRANULE), before.subarray(GRANULE));
  });
});

it('concurrent copies keep to the limit together', async () => {
  const { filter, scratch, snapshot, view, before } = snapshottedDisk({
    limitBytes: 2 * GRANULE,
    onScratchFull: 'fail-writer',
  });
  scratch.hold();
  const writes = [0, 1, 2, 3].map((granule) => writers.waiting(filter, granule));
  await nextTurn();
  scratch.release();
  expect(await Promise.all(writes)).toEqual([OK, OK, ENOSPC, ENOSPC]);
  expect(snapshot.usedBytes).toBe(2 * GRANULE);
  expectSame(await contentOf(view), before);
});

it('a writer that waited for a failed copy tries again itself', async () => {
  const { filter, scratch, view, before } = snapshottedDisk({ onScratchFull: 'fail-writer' });
  scratch.hold();
  scratch.failNext('write', ENOSPC);
  const writes = [0, 1].map((sector) => filter.write(filled(512), 0, 512, sector * 512));
  await nextTurn();
  scratch.release();
  expect(await Promise.all(writes)).toEqual([ENOSPC, OK]);
  expectSame(await contentOf(view), before);
});

it('a waiting copy that fails gives its bytes back to the budget', async () => {
  const { filter, scratch, snapshot } = snapshottedDisk({ limitBytes: GRANULE, onScratchFull: 'fail-writer' });
  scratch.deferAll(true);
  scratch.failNext('write', EIO);
  expect(await writers.waiting(filter, 0)).toBe(EIO);
  expect(snapshot.usedBytes).toBe(0);
  expect(await writers.waiting(filter, 1)).toBe(OK);
});

it('several failing copies break the view only once', async () => {
  const { filter, scratch, failures } = snapshottedDisk();
  scratch.hold();
  scratch.fail('write', EIO);
  const writes = [0, 1, 2].map((granule) => writers.waiting(filter, granule));
  await nextTurn();
  scratch.release();
  expect(await Promise.all(writes)).toEqual([OK, OK, OK]);
  expect(failures).toEqual([EIO]);
});

it('a read fails if the view breaks during it', async () => {
  const { filter, disk, view, failures } = snapshottedDisk({ limitBytes: 0 });
  disk.hold();
  const reading = view.read(Buffer.alloc(GRANULE), 0, GRANULE, 0);
  const writing = filter.write(filled(512), 0, 512, GRANULE);
  await nextTurn();
  expect(failures).toEqual([ENOSPC]);
  disk.release();
  expect(await Promise.all([reading, writing])).toEqual([EIO, OK]);
});

describe('closing', () => {
  it('closes scratch once, after the copies in flight; writers carry on and reads fail with EIO', async () => {
    const { filter, scratch, snapshot, view, memory, failures } = snapshottedDisk();
    const closes: number[] = [];
    scratch.close = async () => void closes.push(scratch.calls.length);
    scratch.hold();
    const writing = filter.write(filled(512), 0, 512, 0);
    await nextTurn();
    const closing = Promise.all([snapshot.close(), snapshot.close()]);
    await nextTurn();
    expect(closes).toEqual([]);
    expect(readOf(view, 4)).toBe(EIO);
    scratch.release();
    expect(await writing).toBe(OK);
    await closing;
    expect(closes).toEqual([1]);
    expect(await writers['at once'](filter, 5)).toBe(OK);
    expect(scratch.calls).toEqual(['write']);
    expectSame(await contentOf(memory, 0, 512), filled(512));
    expect(failures).toEqual([]);
  });

  it('stops a copy between reading and writing', async () => {
    const { filter, disk, scratch, snapshot } = snapshottedDisk();
    disk.hold();
    const writing = filter.write(filled(512), 0, 512, 0);
    await nextTurn();
    const closing = snapshot.close();
    disk.release();
    expect(await writing).toBe(OK);
    await closing;
    expect(scratch.calls).toEqual([]);
  });
});

import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { EIO, ENOSPC, OK } from '../../src/base/errno.js';
import { ExtentList } from '../../src/base/extents.js';
import { GIB, KIB, TIB } from '../../src/base/units.js';
import { CopyBeforeWrite } from '../../src/snapshot/copy-before-write.js';
import { allocationOf, contentOf, expectSame } from '../support/device-content.js';
import { FaultyDevice } from '../support/faulty-device.js';
import { MemoryDevice } from '../support/memory-device.js';
import { filled, snapshotOf } from '../support/snapshots.js';

const PIECE = 4 * KIB;
const PIECES = 64;

/** A disk of pieces that hold their own number plus one, with a snapshot of it. The last piece has `lastBytes`. */
function disk({
  lastBytes = PIECE,
  ...choices
}: {
  lastBytes?: number;
  limitBytes?: number;
  failWriter?: boolean;
} = {}) {
  const memory = new MemoryDevice((PIECES - 1) * PIECE + lastBytes);
  const before = Buffer.alloc(memory.sizeBytes);
  for (let i = 0; i < PIECES; i++) before.fill(i + 1, i * PIECE, Math.min((i + 1) * PIECE, before.length));
  memory.writeNow(before, 0, before.length, 0);
  const source = new FaultyDevice(memory);
  const filter = new CopyBeforeWrite(source);
  const { limitBytes, failWriter } = choices;
  const made = snapshotOf(source, {
    pieceBytes: PIECE,
    ...(limitBytes !== undefined && { limitBytes }),
    ...(failWriter && { onScratchFull: 'fail-writer' as const }),
  });
  filter.attach(made.snapshot);
  return { ...made, memory, before, source, filter };
}

const writeSector = (filter: CopyBeforeWrite, piece: number) =>
  filter.writeNow(filled(512), 0, 512, piece * PIECE + 512);

describe('a write', () => {
  it('of 512 bytes copies the piece that contains them, with one read and one write', () => {
    const { filter, source, scratch, snapshot } = disk();
    expect(writeSector(filter, 7)).toBe(OK);
    expect(snapshot.usedBytes).toBe(PIECE);
    expect([source.calls, scratch.calls]).toEqual([['read', 'write'], ['write']]);
    expect(writeSector(filter, 7)).toBe(OK);
    expect([source.calls, scratch.calls]).toEqual([['read', 'write', 'write'], ['write']]);
  });

  it('over several pieces copies them together', () => {
    const { filter, source, scratch, snapshot } = disk();
    expect(filter.writeNow(filled(5 * PIECE), 0, 5 * PIECE, PIECE - 1)).toBe(OK);
    expect(snapshot.usedBytes).toBe(6 * PIECE);
    expect([source.calls, scratch.calls]).toEqual([['read', 'write'], ['write']]);
  });

  it('to the last piece copies it up to the end of the disk', async () => {
    const { filter, snapshot, view, before } = disk({ lastBytes: 512 });
    expect(filter.writeNow(filled(512), 0, 512, (PIECES - 1) * PIECE)).toBe(OK);
    expect(snapshot.usedBytes).toBe(512);
    expectSame(await contentOf(view), before);
    expect(await snapshot.release((PIECES - 1) * PIECE, 512)).toBe(OK);
    expect(snapshot.usedBytes).toBe(0);
  });

  it('at the limit still fits if its piece is as short as the room that is left', async () => {
    const { filter, source, snapshot } = disk({ lastBytes: 512, limitBytes: 512, failWriter: true });
    source.deferAll(true);
    expect(await filter.write(filled(512), 0, 512, 0)).toBe(ENOSPC);
    expect(await filter.write(filled(512), 0, 512, (PIECES - 1) * PIECE)).toBe(OK);
    expect(snapshot.usedBytes).toBe(512);
  });

  it.each(['at once', 'waiting'])('to zeroes, %s, keeps nothing, and the view has a hole there', async (how) => {
    const { filter, source, memory, scratch, snapshot, view, before } = disk();
    const zeroes = [3, 4, 9, 63];
    for (const i of zeroes) memory.writeNow(before.fill(0, i * PIECE, (i + 1) * PIECE), i * PIECE, PIECE, i * PIECE);
    // Not quite zeroes.
    for (const at of [20 * PIECE, 21 * PIECE - 1, 22 * PIECE + 100]) {
      before.fill(0, Math.floor(at / PIECE) * PIECE, (Math.floor(at / PIECE) + 1) * PIECE);
      before[at] = 1;
    }
    memory.writeNow(before, 20 * PIECE, 3 * PIECE, 20 * PIECE);
    source.deferAll(how === 'waiting');
    const data = filled(PIECES * PIECE);
    const write = how === 'waiting' ? filter.write.bind(filter) : filter.writeNow.bind(filter);
    expect(await write(data, 0, data.length, 0)).toBe(OK);
    expect(snapshot.usedBytes).toBe((PIECES - zeroes.length) * PIECE);
    expect(scratch.calls).toEqual(['write', 'write', 'write']);
    expectSame(await contentOf(view), before);
    expect(await allocationOf(view, 0, 10 * PIECE)).toEqual([
      [3 * PIECE, 0],
      [2 * PIECE, 3],
      [4 * PIECE, 0],
      [PIECE, 3],
    ]);
    expect([view.holeNow(3 * PIECE + 7, 3 * PIECE), view.holeNow(0, PIECE)]).toEqual([2 * PIECE - 7, 0]);
  });

  it('keeps the pieces that were copied before one that does not fit', async () => {
    const { filter, scratch, snapshot, memory, view, before } = disk({ failWriter: true });
    for (const i of [2, 5]) memory.writeNow(before.fill(0, i * PIECE, (i + 1) * PIECE), i * PIECE, PIECE, i * PIECE);
    scratch.failNext('write', OK);
    scratch.failNext('write', EIO);
    expect(filter.writeNow(filled(8 * PIECE), 0, 8 * PIECE, 0)).toBe(EIO);
    expect(snapshot.usedBytes).toBe(2 * PIECE);
    expectSame(await contentOf(memory), before);
    expect(filter.writeNow(filled(8 * PIECE), 0, 8 * PIECE, 0)).toBe(OK);
    expect(snapshot.usedBytes).toBe(6 * PIECE);
    expectSame(await contentOf(view), before);
  });
});

describe('reading a view of which every other piece was overwritten', () => {
  function halfOverwritten() {
    const made = disk();
    for (let i = 0; i < PIECES; i += 2) writeSector(made.filter, i);
    made.source.calls.length = 0;
    return made;
  }

  it('asks the live disk once if it has to wait', async () => {
    const { view, source, before } = halfOverwritten();
    source.deferAll(true);
    expectSame(await contentOf(view), before);
    expect(source.calls).toEqual(['read']);
  });

  it('does not need what is overwritten on the live disk', async () => {
    const { view, source, before, memory } = halfOverwritten();
    source.deferAll(true);
    source.read = async (target, start, length, offset) =>
      offset % (2 * PIECE) === 0 || length > PIECE ? EIO : memory.read(target, start, length, offset);
    expectSame(await contentOf(view), before);
    source.read = async () => EIO;
    expect(await view.read(Buffer.alloc(2 * PIECE), 0, 2 * PIECE, 0)).toBe(EIO);
    expect(await view.read(Buffer.alloc(PIECE), 0, PIECE, 0)).toBe(OK);
  });

  it('asks for the allocation once, and for none where all is overwritten', async () => {
    const { view, source, filter } = halfOverwritten();
    expect(await allocationOf(view)).toEqual([[PIECES * PIECE, 0]]);
    expect(source.calls).toEqual(['extents']);
    filter.writeNow(filled(PIECES * PIECE), 0, PIECES * PIECE, 0);
    source.fail('extents', EIO);
    expect(await allocationOf(view)).toEqual([[PIECES * PIECE, 0]]);
  });

  it('releases all of it with one call to scratch', async () => {
    const { snapshot, scratch, view } = halfOverwritten();
    expect(await snapshot.release(PIECE, 10 * PIECE)).toBe(OK);
    expect(snapshot.usedBytes).toBe((PIECES / 2 - 5) * PIECE);
    expect(scratch.calls.filter((call) => call === 'trim')).toHaveLength(1);
    expect(view.readNow(Buffer.alloc(512), 0, 512, 10 * PIECE)).toBe(EIO);
    expect(view.readNow(Buffer.alloc(512), 0, 512, 11 * PIECE)).toBe(OK);
    expect(await snapshot.release(0, PIECES * PIECE)).toBe(OK);
    expect(snapshot.usedBytes).toBe(0);
  });

  it('stops releasing when the view is closed', async () => {
    const { snapshot, scratch } = halfOverwritten();
    let closed = false;
    scratch.close = async () => {
      closed = true;
    };
    const trim = scratch.trim.bind(scratch);
    scratch.trim = async (offset, length) => (closed ? EIO : trim(offset, length));
    scratch.hold();
    const releasing = snapshot.release(0, PIECES * PIECE);
    await nextTurn();
    const closing = snapshot.close();
    scratch.release();
    expect([await releasing, await closing]).toEqual([OK, undefined]);
  });
});

describe('a view of 16 TiB', () => {
  function large() {
    const memory = new MemoryDevice(16 * TIB);
    const filter = new CopyBeforeWrite(memory);
    const began = performance.now();
    const before = process.memoryUsage().arrayBuffers;
    const made = snapshotOf(memory, { pieceBytes: PIECE });
    const memoryBytes = process.memoryUsage().arrayBuffers - before;
    const milliseconds = performance.now() - began;
    filter.attach(made.snapshot);
    return { ...made, memory, filter, memoryBytes, milliseconds };
  }

  it('opens at once, and takes little memory for each piece that is overwritten', async () => {
    const { memory, filter, view, snapshot, memoryBytes, milliseconds } = large();
    expect(memoryBytes).toBeLessThan(4 * KIB);
    expect(milliseconds).toBeLessThan(100);
    const before = process.memoryUsage().arrayBuffers;
    for (let offset = 0; offset < 16 * TIB; offset += TIB) {
      memory.writeNow(filled(PIECE, 'a'), 0, PIECE, offset);
      filter.writeNow(filled(512), 0, 512, offset);
    }
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 * 200 * KIB);
    expect(snapshot.usedBytes).toBe(16 * PIECE);
    expectSame(await contentOf(view, 15 * TIB, 2 * PIECE), Buffer.concat([filled(PIECE, 'a'), Buffer.alloc(PIECE)]));
  });

  it('settles, reports and releases all of it quickly', async () => {
    const { memory, view, snapshot } = large();
    const dataAt = 9 * TIB;
    memory.writeNow(filled(PIECE, 'a'), 0, PIECE, dataAt);
    memory.holeNow = (offset, length) => {
      if (offset >= dataAt + PIECE) return length;
      return offset < dataAt ? Math.min(length, dataAt - offset) : 0;
    };
    expect(await snapshot.save(0, 16 * TIB)).toBe(OK);
    expect(snapshot.usedBytes).toBe(PIECE);
    const list = new ExtentList(10);
    expect(snapshot.overwritten(0, 16 * TIB, list)).toBe(OK);
    expect([list.lengths, list.statuses]).toEqual([[16 * TIB], [1]]);
    expect(await allocationOf(view, 9 * TIB - GIB, 2 * GIB)).toEqual([
      [GIB, 3],
      [PIECE, 0],
      [GIB - PIECE, 3],
    ]);
    expect(await snapshot.release(0, 16 * TIB)).toBe(OK);
    expect(snapshot.usedBytes).toBe(0);
    expect(view.readNow(Buffer.alloc(512), 0, 512, 16 * TIB - 512)).toBe(EIO);
  });
});

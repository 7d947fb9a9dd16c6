import { expect, test } from 'vitest';
import { BugError } from '../../src/base/assert.js';
import { OK, WOULD_BLOCK } from '../../src/base/errno.js';
import { WriteGate } from '../../src/storage/device/write-gate.js';
import { FaultyDevice } from '../support/faulty-device.js';
import { MemoryDevice } from '../support/memory-device.js';

const data = Buffer.alloc(512, 7);

function gated() {
  const disk = new FaultyDevice(new MemoryDevice(65_536));
  return { disk, gate: new WriteGate(disk) };
}

/** Lets everything run that needs no timer. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

test('an open gate lets every change through', async () => {
  const { gate } = gated();
  expect(gate.writeNow(data, 0, 512, 0)).toBe(OK);
  expect(await gate.write(data, 0, 512, 0)).toBe(OK);
  expect(await gate.zero(0, 512, { keepAllocated: false, fastOnly: false })).toBe(OK);
  expect(await gate.trim(0, 512)).toBe(OK);
});

test('a closed gate holds back every change, but lets reads and flushes pass', async () => {
  const { gate } = gated();
  await gate.quiesce();
  expect(gate.writeNow(data, 0, 512, 0)).toBe(WOULD_BLOCK);
  let changed = 0;
  const changes = [
    gate.write(data, 0, 512, 0),
    gate.zero(512, 512, { keepAllocated: false, fastOnly: false }),
    gate.trim(1024, 512),
  ].map((change) => change.then(() => changed++));
  const target = Buffer.alloc(512);
  expect(gate.readNow(target, 0, 512, 0)).toBe(OK);
  expect(await gate.flush()).toBe(OK);
  await settle();
  expect(changed).toBe(0);
  expect(target.every((byte) => byte === 0)).toBe(true);
  const waits = gate.resume();
  await Promise.all(changes);
  expect(changed).toBe(3);
  expect(waits).toHaveLength(3);
  for (const wait of waits) expect(wait).toBeGreaterThan(0);
});

test('quiescing waits for the changes in flight', async () => {
  const { gate, disk } = gated();
  disk.hold();
  const write = gate.write(data, 0, 512, 0);
  let quiet = false;
  const quiesced = gate.quiesce().then(() => {
    quiet = true;
  });
  await settle();
  expect(quiet).toBe(false);
  disk.release();
  await write;
  await quiesced;
  gate.resume();
});

test('a gate that is closed again at once holds back the changes that waited', async () => {
  const { gate, disk } = gated();
  await gate.quiesce();
  let written = false;
  const write = gate.write(data, 0, 512, 0).then(() => {
    written = true;
  });
  gate.resume();
  disk.hold();
  const quiesced = gate.quiesce();
  await settle();
  disk.release();
  await quiesced;
  const writtenBeforeTheCut = written;
  await settle();
  expect(written).toBe(writtenBeforeTheCut);
  gate.resume();
  await write;
});

test('closing or opening the gate twice is a bug', async () => {
  const { gate } = gated();
  expect(() => gate.resume()).toThrow(BugError);
  await gate.quiesce();
  expect(() => gate.quiesce()).toThrow(BugError);
  gate.resume();
});

test('settling waits for the changes in flight, but not for later ones, and leaves the gate open', async () => {
  const { gate, disk } = gated();
  disk.hold();
  const first = gate.write(data, 0, 512, 0);
  let settled = 0;
  const settling = gate.settled().then(() => settled++);
  const again = gate.settled().then(() => settled++);
  disk.release();
  disk.hold();
  const later = gate.write(data, 0, 512, 512);
  await Promise.all([first, settling, again]);
  expect([settled, disk.heldCalls]).toEqual([2, 1]);
  disk.release();
  expect(await later).toBe(OK);
  await gate.settled();
});

test('after a caller gives up waiting and reopens the gate, the next caller waits for the same changes too', async () => {
  const { gate, disk } = gated();
  disk.hold();
  const hanging = gate.write(data, 0, 512, 0);
  void gate.quiesce();
  const held = gate.write(data, 0, 512, 512);
  expect(gate.resume()).toHaveLength(1);
  await settle();
  expect(disk.heldCalls).toBe(2);
  let quiet = false;
  const quiesced = gate.quiesce().then(() => {
    quiet = true;
  });
  await settle();
  expect(quiet).toBe(false);
  disk.release();
  await Promise.all([hanging, held, quiesced]);
  gate.resume();
});

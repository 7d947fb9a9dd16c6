import { expect, test } from 'vitest';
import { GIB, MIB } from '../../src/base/units.js';
import { DiskSharing } from '../../src/export/elsewhere/disk-sharing.js';
import { WriteGate } from '../../src/storage/device/write-gate.js';
import { PIECE_BYTES } from '../../src/storage/permits/permit-memory.js';
import { PermittedWrites } from '../../src/storage/permits/permitted-writes.js';
import { MemoryDevice } from '../support/memory-device.js';

function share(sizeBytes: number) {
  const device = Object.defineProperty(new MemoryDevice(512), 'sizeBytes', { value: sizeBytes, writable: true });
  const gate = new WriteGate(device);
  const sharing = new DiskSharing({
    file: { path: '/disk', fd: -1, inMemory: false, endsWithin: undefined },
    readOnly: false,
    isCounted: false,
    explain: () => undefined,
    gate,
    activity: undefined,
    unitBytes: () => 512,
  });
  return { device, gate, sharing };
}

test('a disk whose permits have no room in memory stays in its thread', () => {
  const { gate, sharing } = share(2 ** 60);
  expect(sharing.take(2)).toBeUndefined();
  expect(gate.permits).toBeUndefined();
});

test('permits stay when the last client of other threads has gone', () => {
  const { gate, sharing } = share(MIB);
  const first = sharing.take(1)!;
  first.release();
  gate.permits!.grantAndOpen(0, PIECE_BYTES);
  const { permits } = sharing.take(1)!.disk;
  expect(permits).toBe(first.disk.permits);
  expect(new PermittedWrites(permits, 0).begin(0, PIECE_BYTES)).toBe(true);
});

test('the clients that come after a disk has grown can get permits for all of it', () => {
  const { device, sharing } = share(PIECE_BYTES);
  const small = sharing.take(1)!;
  const covered = small.disk.permits.permits.length;
  (device as { sizeBytes: number }).sizeBytes = 16 * GIB;
  sharing.resize(16 * GIB);
  const beside = sharing.take(1)!;
  expect(beside.disk.permits).toBe(small.disk.permits);
  small.release();
  beside.release();
  expect(sharing.take(1)!.disk.permits.permits.length).toBeGreaterThan(covered);
});

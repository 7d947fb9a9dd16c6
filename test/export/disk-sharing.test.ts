import { expect, test } from 'vitest';
import { DiskSharing } from '../../src/export/elsewhere/disk-sharing.js';
import { WriteGate } from '../../src/storage/device/write-gate.js';
import { MemoryDevice } from '../support/memory-device.js';

test('a disk whose permits have no room in memory stays in its thread', () => {
  const device = new MemoryDevice(512);
  const gate = new WriteGate(Object.defineProperty(device, 'sizeBytes', { value: 2 ** 60 }));
  const sharing = new DiskSharing({
    file: { path: '/disk', fd: -1, inMemory: false, endsWithin: undefined },
    readOnly: false,
    isCounted: false,
    explain: () => undefined,
    gate,
    activity: undefined,
    unitBytes: () => 512,
  });
  expect(sharing.take(2)).toBeUndefined();
  expect(gate.permits).toBeUndefined();
});

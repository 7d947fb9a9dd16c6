import type { Errno } from '../../src/base/errno.js';
import { KIB } from '../../src/base/units.js';
import { CopyBeforeWrite } from '../../src/snapshot/copy-before-write.js';
import { ScratchBudget } from '../../src/snapshot/scratch-budget.js';
import { Snapshot } from '../../src/snapshot/snapshot.js';
import type { SnapshotOptions } from '../../src/snapshot/snapshot-options.js';
import type { BlockDevice } from '../../src/storage/device/block-device.js';
import { FaultyDevice } from './faulty-device.js';
import { MemoryDevice } from './memory-device.js';

export const GRANULE = 64 * KIB;
export const GRANULES = 8;
/** Zeroing that may leave a hole and may be slow. */
export const HOLE = { keepAllocated: false, fastOnly: false };

/** Each kind of change, to one sector of granule 1. */
export const changes: [string, (device: CopyBeforeWrite) => unknown][] = [
  ['a write', (device) => device.writeNow(filled(512), 0, 512, GRANULE + 512)],
  ['a write that waits', (device) => device.write(filled(512), 0, 512, GRANULE + 512)],
  ['a zero', (device) => device.zero(GRANULE + 512, 512, HOLE)],
  ['a trim', (device) => device.trim(GRANULE + 512, 512)],
];

type Choices = Partial<Pick<SnapshotOptions, 'pieceBytes' | 'onScratchFull' | 'sizeBytes'>> & {
  readonly limitBytes?: number;
};

/** A snapshot of `disk` that is not attached yet, with scratch and failures of its own. */
export function snapshotOf(disk: BlockDevice, { limitBytes = Number.POSITIVE_INFINITY, ...choices }: Choices = {}) {
  const sizeBytes = choices.sizeBytes ?? disk.sizeBytes;
  const scratch = new FaultyDevice(new MemoryDevice(sizeBytes));
  const failures: Errno[] = [];
  const snapshot = new Snapshot({
    source: disk,
    scratch,
    sizeBytes,
    pieceBytes: GRANULE,
    budget: new ScratchBudget(limitBytes),
    onScratchFull: 'fail-view',
    onFailure: (errno) => void failures.push(errno),
    ...choices,
  });
  return { snapshot, view: snapshot.device, scratch, failures };
}

/** A disk of eight granules, each filled with its own letter, and a snapshot that is attached to it. */
export function snapshottedDisk(choices: Choices = {}) {
  const memory = new MemoryDevice(GRANULES * GRANULE);
  const before = Buffer.alloc(memory.sizeBytes);
  for (let i = 0; i < GRANULES; i++) before.fill('abcdefgh'[i]!, i * GRANULE, (i + 1) * GRANULE);
  memory.writeNow(before, 0, before.length, 0);
  const disk = new FaultyDevice(memory);
  const filter = new CopyBeforeWrite(disk);
  const made = snapshotOf(disk, choices);
  const detach = filter.attach(made.snapshot);
  return { ...made, memory, disk, filter, detach, before };
}

/** A buffer filled with one byte. */
export const filled = (bytes: number, byte = '!'): Buffer => Buffer.alloc(bytes, byte);

import { expect, test } from 'vitest';
import { OK, WOULD_BLOCK } from '../../src/base/errno.js';
import { BitmapSet } from '../../src/bitmap/bitmap-set.js';
import { TrackingDevice } from '../../src/bitmap/tracking-device.js';
import { ClonedDisk } from '../../src/snapshot/cloned-disk.js';
import { CopyBeforeWrite } from '../../src/snapshot/copy-before-write.js';
import { FilterDevice } from '../../src/storage/device/filter-device.js';
import { PagePipe } from '../../src/storage/device/page-pipe.js';
import { WriteGate } from '../../src/storage/device/write-gate.js';
import { MemoryDevice } from '../support/memory-device.js';
import { GRANULE, GRANULES, snapshotOf } from '../support/snapshots.js';

/** A disk that says it lends its pages. */
class Lender extends MemoryDevice {
  override lendNow() {
    return OK;
  }
}

const pipe = PagePipe.open()!;
const lender = () => new Lender(GRANULES * GRANULE);

test('the live disk lends its pages, through all its filters, while a view shows it as it was', () => {
  const disk = lender();
  const filter = new CopyBeforeWrite(new TrackingDevice(disk, new BitmapSet(disk.sizeBytes)));
  filter.attach(snapshotOf(disk).snapshot);
  expect(new WriteGate(filter).lendNow(pipe, GRANULE, 0)).toBe(OK);
});

test('a view lends no pages, because a write to the live disk would show in them', () => {
  const { view } = snapshotOf(lender());
  expect(view.lendNow(pipe, GRANULE, 0)).toBe(WOULD_BLOCK);
});

test('neither does a clone, nor a filter that does not say so', () => {
  class PlainFilter extends FilterDevice {}
  expect(new ClonedDisk(lender(), GRANULE).lendNow()).toBe(WOULD_BLOCK);
  expect(new PlainFilter(lender()).lendNow(pipe, GRANULE, 0)).toBe(WOULD_BLOCK);
});

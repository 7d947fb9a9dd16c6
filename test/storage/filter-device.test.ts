import { describe, expect, it } from 'vitest';
import { EIO, ENOSPC, OK, WOULD_BLOCK } from '../../src/base/errno.js';
import { MIB } from '../../src/base/units.js';
import { FilterDevice } from '../../src/storage/device/filter-device.js';
import { allocationOf, contentOf, put } from '../support/device-content.js';
import { FaultyDevice } from '../support/faulty-device.js';
import { MemoryDevice } from '../support/memory-device.js';

class PlainFilter extends FilterDevice {}

class RecordingMemory extends MemoryDevice {
  closed = false;

  override async close(): Promise<void> {
    this.closed = true;
  }
}

describe('a filter that changes nothing', () => {
  it('behaves like the device below it', async () => {
    const inner = new MemoryDevice(MIB, { rotational: true });
    const filter = new PlainFilter(inner);
    await put(filter, 100, Buffer.from('abc'));
    expect(await contentOf(filter, 99, 5)).toEqual(Buffer.from('\0abc\0'));
    expect(filter.sizeBytes).toBe(MIB);
    expect(filter.capabilities).toBe(inner.capabilities);
    expect(filter.holeNow(512 * 1024, 10)).toBe(10);
    expect(await allocationOf(filter)).toEqual(await allocationOf(inner));
    expect(await filter.zero(100, 3, { keepAllocated: false, fastOnly: false })).toBe(OK);
    expect(await contentOf(filter, 100, 3)).toEqual(Buffer.alloc(3));
    expect(await filter.trim(0, MIB)).toBe(OK);
    expect(filter.holeNow(0, MIB)).toBe(MIB);
    expect([await filter.flush(), await filter.cache(0, MIB)]).toEqual([OK, OK]);
  });

  it('leaves the device below open', async () => {
    const inner = new RecordingMemory(MIB);
    await new PlainFilter(inner).close();
    expect(inner.closed).toBe(false);
  });
});

describe('the device that fails on demand', () => {
  it('fails the next calls, or all', async () => {
    const faulty = new FaultyDevice(new MemoryDevice(MIB));
    const source = Buffer.from('x');
    faulty.failNext('write', ENOSPC);
    expect(faulty.writeNow(source, 0, 1, 0)).toBe(ENOSPC);
    expect(await contentOf(faulty, 0, 1)).toEqual(Buffer.alloc(1));
    expect(faulty.writeNow(source, 0, 1, 0)).toBe(OK);
    faulty.fail('flush', EIO);
    expect([await faulty.flush(), await faulty.flush()]).toEqual([EIO, EIO]);
    faulty.fail('flush', OK);
    expect(await faulty.flush()).toBe(OK);
  });

  it('delays calls, or holds them until they are released', async () => {
    const faulty = new FaultyDevice(new MemoryDevice(MIB));
    const source = Buffer.from('x');
    faulty.deferAll(true);
    expect(faulty.writeNow(source, 0, 1, 0)).toBe(WOULD_BLOCK);
    faulty.deferAll(false);
    faulty.hold();
    const write = faulty.write(source, 0, 1, 0);
    expect([faulty.heldCalls, faulty.readNow(Buffer.alloc(1), 0, 1, 0)]).toEqual([1, WOULD_BLOCK]);
    faulty.release();
    expect(await write).toBe(OK);
    expect(await contentOf(faulty, 0, 1)).toEqual(source);
    expect(faulty.calls).toEqual(['write', 'read']);
  });
});

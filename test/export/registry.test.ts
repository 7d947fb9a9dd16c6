import { expect, test, vi } from 'vitest';
import { EIO } from '../../src/base/errno.js';
import { MIB } from '../../src/base/units.js';
import { BitmapSet } from '../../src/bitmap/bitmap-set.js';
import { Export } from '../../src/export/export.js';
import { ExportRegistry } from '../../src/export/registry.js';
import type { BlockDevice } from '../../src/storage/device/block-device.js';
import { FaultyDevice } from '../support/faulty-device.js';
import { idleClient } from '../support/idle-client.js';
import { MemoryDevice } from '../support/memory-device.js';
import { memoryRegistry } from '../support/memory-server.js';

/** A promise, and what resolves it. */
function gate(): { passed: Promise<void>; open: () => void } {
  let open = () => {};
  const passed = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { passed, open };
}

test('closing waits for a removal that has begun, and keeps the name taken until then', async () => {
  const exports = await memoryRegistry([{ name: 'disk' }]);
  const { passed, open } = gate();
  exports.get('disk').attach(idleClient({ drain: () => passed }));
  const order: string[] = [];
  const removed = exports.remove('disk').then(() => order.push('removed'));
  await expect(exports.add({ name: 'disk', path: 'memory' })).rejects.toMatchObject({ code: 'EXPORT_EXISTS' });
  const closed = exports.close().then(() => order.push('closed'));
  await new Promise(setImmediate);
  expect(order).toEqual([]);
  open();
  await Promise.all([removed, closed]);
  expect(order).toEqual(['removed', 'closed']);
});

test('closing closes an export that was still being opened', async () => {
  const served = (await memoryRegistry([{ name: 'disk' }])).get('disk');
  const { passed, open } = gate();
  const exports = new ExportRegistry(() => passed.then(() => served));
  const close = vi.spyOn(served, 'close');
  const added = exports.add({ name: 'disk', path: 'memory' });
  const closed = exports.close();
  open();
  expect(await added).toBe(served);
  await closed;
  expect(close).toHaveBeenCalledTimes(1);
  expect(exports.list()).toEqual([]);
});

test('exports that are added together are all served, in their order, or none is', async () => {
  const memory = await memoryRegistry([{ name: 'one' }, { name: 'two' }]);
  const served = ['two', 'one'].map((name) => memory.get(name));
  const exports = new ExportRegistry(() => Promise.reject(new Error('not asked')));
  const wanted = served.map(({ name }) => ({ spec: { name, path: 'memory' }, origin: 'file' as const }));
  await expect(exports.addTogether(wanted, () => Promise.reject(new Error('a disk hangs')))).rejects.toThrow('hangs');
  const twice = exports.addTogether([...wanted, wanted[0]!], async () => served);
  await expect(twice).rejects.toMatchObject({ code: 'EXPORT_EXISTS' });
  expect(exports.list()).toEqual([]);
  await exports.addTogether(wanted, async () => served);
  expect(exports.list()).toEqual(served);
  expect(served.map((one) => exports.originOf(one))).toEqual(['file', 'file']);
});

test('closing closes exports that were still being opened together', async () => {
  const served = (await memoryRegistry([{ name: 'disk' }])).get('disk');
  const { passed, open } = gate();
  const exports = new ExportRegistry(() => Promise.reject(new Error('not asked')));
  const spec = { name: 'disk', path: 'memory' };
  const close = vi.spyOn(served, 'close');
  const added = exports.addTogether([{ spec, origin: 'file' }], () => passed.then(() => [served]));
  await expect(exports.add(spec)).rejects.toMatchObject({ code: 'EXPORT_EXISTS' });
  const closed = exports.close();
  open();
  await Promise.all([added, closed]);
  expect(close).toHaveBeenCalledTimes(1);
  expect(exports.list()).toEqual([]);
});

test('an export whose disk fails to close gives up its claim on the disk all the same', async () => {
  const disk: BlockDevice = new MemoryDevice(MIB);
  disk.close = () => Promise.reject(new Error('EIO'));
  const release = vi.fn();
  const bitmaps = new BitmapSet(MIB);
  const served = new Export({ name: 'disk', description: '', path: 'memory', readOnly: false, disk, bitmaps, release });
  await expect(served.close()).rejects.toThrow('EIO');
  expect(release).toHaveBeenCalledTimes(1);
});

test('a removal that fails affects only its caller', async () => {
  const device = new FaultyDevice(new MemoryDevice(MIB));
  const exports = await memoryRegistry([{ name: 'disk', device }]);
  device.fail('flush', EIO);
  const removed = exports.remove('disk');
  await Promise.all([expect(removed).rejects.toMatchObject({ code: 'FLUSH_FAILED' }), exports.close()]);
});

test.each([
  ['the export name .* is too long', { name: 'x'.repeat(1024) }],
  ['the export name contains a control character', { name: 'a\0b' }],
  ['the description of "disk" is too long', { name: 'disk', description: 'ü'.repeat(2049) }],
  ['the description of "disk" has a NUL', { name: 'disk', description: '\0' }],
])('a name or description that the protocol cannot carry is refused: %s', async (message, spec) => {
  const exports = await memoryRegistry([]);
  await expect(exports.add({ path: 'memory', ...spec })).rejects.toMatchObject({
    code: 'EXPORT_INVALID',
    message: expect.stringMatching(message),
  });
});

import { closeSync, openSync, renameSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { ExportSpec } from '../../src/api/export.js';
import { ExtentList } from '../../src/base/extents.js';
import { KIB, MIB } from '../../src/base/units.js';
import type { Export } from '../../src/export/export.js';
import { parseExportSpec } from '../../src/export/export-spec.js';
import { openExport } from '../../src/server/open-export.js';
import { createImage } from '../../src/storage/image/create-image.js';
import { exportHost } from '../support/export-host.js';
import { kill } from '../support/inside.js';
import { MemoryStore } from '../support/memory-store.js';
import { run } from '../support/run.js';
import { scratchFolder } from '../support/scratch-folder.js';

function scene() {
  const path = join(scratchFolder(), 'disk.img');
  const store = new MemoryStore();
  const open = async (change: Partial<ExportSpec> = {}, transient = false): Promise<Export> => {
    const served = await openExport({ name: 'disk', path, ...change }, exportHost(transient ? undefined : store));
    onTestFinished(() => kill(served));
    return served;
  };
  return { path, store, open };
}

async function write(served: Export, data: Buffer, offset = 0): Promise<void> {
  expect(await served.device.write(data, 0, data.length, offset)).toBe(0);
}

describe('an image in a format of its own', () => {
  test.each(['qcow', 'qcow2', 'vmdk', 'vdi', 'vhdx', 'vpc', 'qed', 'parallels'])(
    'that qemu-img makes as %s is refused, read-only too, unless format=raw is given',
    async (format) => {
      const { path, open } = scene();
      await run('qemu-img', 'create', '-q', '-f', format, path, '4M');
      for (const readOnly of [false, true]) {
        await expect(open({ readOnly })).rejects.toMatchObject({
          code: 'IMAGE_NOT_RAW',
          hint: expect.stringContaining('format=raw'),
        });
      }
      const served = await open({ readOnly: true, format: 'raw' });
      expect(served.sizeBytes).toBeGreaterThan(0);
    },
  );

  test('is recognised at its end if it is a VHD with a fixed size', async () => {
    const { path, open } = scene();
    await run('qemu-img', 'create', '-q', '-f', 'vpc', '-o', 'subformat=fixed', path, '4M');
    await expect(open()).rejects.toMatchObject({ code: 'IMAGE_NOT_RAW' });
  });

  test('is refused if it is a text file that names its extents', async () => {
    const { path, open } = scene();
    writeFileSync(path, '# Disk DescriptorFile\nversion=1\n'.padEnd(512));
    await expect(open()).rejects.toMatchObject({ code: 'IMAGE_NOT_RAW' });
  });
});

describe('a raw image', () => {
  test('of LUKS, or of zeroes, is served', async () => {
    const { path, open } = scene();
    writeFileSync(path, Buffer.concat([Buffer.from('LUKS\xba\xbe\0\x01', 'latin1'), Buffer.alloc(MIB - 8)]));
    await (await open()).close();
    const other = scene();
    await (await other.open({ sizeBytes: MIB })).close();
  });

  test('that was served stays raw, whatever its guest writes, even after a crash and under another name', async () => {
    const { open } = scene();
    const served = await open({ sizeBytes: MIB });
    await write(served, Buffer.from('QFI\xfb'.padEnd(512, '\0'), 'latin1'));
    await kill(served);
    await (await open()).close();
    await (await open({ readOnly: true })).close();
    const renamed = await open({ name: 'other' });
    await renamed.close();
  });

  test('stays raw when the state was lost', async () => {
    const { path, open } = scene();
    const served = await open({ sizeBytes: MIB });
    await write(served, Buffer.from('QFI\xfb'.padEnd(512, '\0'), 'latin1'));
    await served.close();
    const again = await openExport({ name: 'disk', path }, { ...exportHost(new MemoryStore()), lost: 'set aside' });
    await again.close();
  });

  test('is probed again if it was replaced by another image', async () => {
    const { path, open } = scene();
    await (await open({ sizeBytes: MIB })).close();
    await run('qemu-img', 'create', '-q', '-f', 'qcow2', `${path}.new`, '4M');
    renameSync(`${path}.new`, path);
    await expect(open()).rejects.toMatchObject({ code: 'IMAGE_NOT_RAW' });
  });

  test('is not recognised without a state, so that format=raw is needed again', async () => {
    const { open } = scene();
    const served = await open({ sizeBytes: MIB }, true);
    await write(served, Buffer.from('QFI\xfb'.padEnd(512, '\0'), 'latin1'));
    await served.close();
    await expect(open({}, true)).rejects.toMatchObject({ code: 'IMAGE_NOT_RAW' });
    await (await open({ format: 'raw' }, true)).close();
  });
});

test('a SPEC accepts only format=raw', () => {
  expect(parseExportSpec('a=b,format=raw')).toMatchObject({ format: 'raw' });
  expect(() => parseExportSpec('a=b,format=qcow2')).toThrow('"qcow2" in format=qcow2 is not "raw", the only format');
});

describe('the size of a disk', () => {
  const bitmaps = [{ name: 'nightly' }];

  test.each([
    ['a clean close', (served: Export) => served.close()],
    ['a crash', kill],
  ])('is the one it shrank to, after %s, and its bitmaps hold', async (_what, end) => {
    const { path, open } = scene();
    await createImage(path, 64 * MIB);
    const served = await open({ bitmaps });
    await write(served, Buffer.alloc(4 * KIB, 7), MIB);
    await served.resize(32 * MIB);
    await end(served);
    const again = await open();
    expect(again.sizeBytes).toBe(32 * MIB);
    expect(again.getBitmap('nightly')).toMatchObject({ inconsistent: undefined, sizeBytes: 32 * MIB });
    expect(again.getBitmap('nightly').dirtyBytes).toBeGreaterThanOrEqual(64 * KIB);
    await again.resize(64 * MIB);
    await again.close();
    expect((await open()).sizeBytes).toBe(64 * MIB);
  });

  test.each([
    ['larger', 128 * MIB],
    ['smaller', 16 * MIB],
  ])(
    'is that of its image when that got %s behind the server, and its bitmaps do not hold',
    async (_what, sizeBytes) => {
      const { path, open } = scene();
      await createImage(path, 64 * MIB);
      const served = await open({ bitmaps });
      await served.resize(32 * MIB);
      await served.close();
      truncateSync(path, sizeBytes);
      const again = await open();
      expect(again.sizeBytes).toBe(sizeBytes);
      expect(again.getBitmap('nightly').inconsistent).toMatch(/^its size changed from 33554432 to /);
    },
  );
});

describe('an image that ends within a sector', () => {
  async function odd(place: string, bytes: number) {
    const { path, open } = scene();
    writeFileSync(path, '');
    truncateSync(path, bytes);
    const fd = openSync(path, 'r+');
    if (place === 'data') writeSync(fd, Buffer.alloc(1000, 'x'), 0, 1000, bytes - 1000);
    closeSync(fd);
    return { path, open };
  }

  test.each(['data', 'hole'])('is served read-only, padded with zeroes, if it ends in a %s', async (place) => {
    const { open } = await odd(place, MIB + 1000);
    const served = await open({ readOnly: true });
    expect(served.sizeBytes).toBe(MIB + 1024);
    const tail = Buffer.alloc(1024, 'y');
    expect(await served.device.read(tail, 0, tail.length, MIB)).toBe(0);
    expect(tail.subarray(0, 1000).every((byte) => byte === (place === 'data' ? 120 : 0))).toBe(true);
    expect(tail.subarray(1000)).toEqual(Buffer.alloc(24));
    const list = new ExtentList(100);
    expect(await served.device.extents(0, served.sizeBytes, list)).toBe(0);
    expect(list.lengths.every((length) => length % 512 === 0)).toBe(true);
    expect(list.lengths.reduce((sum, length) => sum + length, 0)).toBe(served.sizeBytes);
  });

  test('cannot be served writable, even if it was served read-only before', async () => {
    const { open } = await odd('data', MIB + 1000);
    await (await open({ readOnly: true })).close();
    const again = await open({ readOnly: true });
    await again.close();
    expect(again.sizeBytes).toBe(MIB + 1024);
    await expect(open()).rejects.toMatchObject({ code: 'IMAGE_UNUSABLE' });
  });

  test('cannot be read past its end after it was truncated', async () => {
    const { path, open } = await odd('data', MIB + 1000);
    const served = await open({ readOnly: true });
    truncateSync(path, MIB);
    expect(await served.device.read(Buffer.alloc(512), 0, 512, MIB)).not.toBe(0);
  });
});

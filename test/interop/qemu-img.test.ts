import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { KIB, MIB } from '../../src/base/units.js';
import { expectSameContent, makeImage } from '../support/image.js';
import { outcomeOf, run } from '../support/run.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { dirtyRanges } from '../support/status-map.js';
import { startTidemark } from '../support/tidemark.js';

const SIZE_BYTES = 16 * MIB;
const data = [
  { offset: MIB, length: 2 * MIB },
  { offset: 10 * MIB, length: 192 * KIB },
];

test('qemu-img info shows the size', async () => {
  const server = await startTidemark(`disk=${makeImage(SIZE_BYTES)}`);
  expect(JSON.parse(await run('qemu-img', 'info', '--output=json', server.uri('disk')))).toMatchObject({
    'virtual-size': SIZE_BYTES,
    format: 'raw',
  });
});

test('qemu-img convert -n fills an export from a qcow2 image', async () => {
  const source = makeImage(SIZE_BYTES, data);
  const qcow2 = join(scratchFolder(), 'disk.qcow2');
  await run('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', source, qcow2);
  const image = makeImage(SIZE_BYTES, [{ offset: 0, length: SIZE_BYTES }]);
  const server = await startTidemark(`disk=${image}`);

  await run('qemu-img', 'convert', '-n', '-f', 'qcow2', '-O', 'raw', qcow2, server.uri('disk'));

  expectSameContent(image, source);
});

test('qemu-img compare tells an equal image from one that differs in a byte', async () => {
  const image = makeImage(SIZE_BYTES, data);
  const server = await startTidemark(`disk=${image}`);
  const copy = join(scratchFolder(), 'copy.img');
  await run('qemu-img', 'convert', '-f', 'raw', '-O', 'raw', server.uri('disk'), copy);

  const compare = () => outcomeOf('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', copy, server.uri('disk'));
  expect(await compare()).toMatchObject({ code: 0, stdout: 'Images are identical.\n' });

  const other = readFileSync(copy)[5 * MIB] === 1 ? 2 : 1;
  await run('qemu-io', '-f', 'raw', '-c', `write -P ${other} 5M 1`, server.uri('disk'));
  expect(await compare()).toMatchObject({ code: 1, stdout: `Content mismatch at offset ${5 * MIB}!\n` });
});

test('qemu-img map shows data and holes', async () => {
  const server = await startTidemark(`disk=${makeImage(SIZE_BYTES, data)}`);
  const extents: { start: number; length: number; data: boolean }[] = JSON.parse(
    await run('qemu-img', 'map', '--output=json', '-f', 'raw', server.uri('disk')),
  );
  const withData = extents.filter((extent) => extent.data);
  expect(withData.map(({ start, length }) => ({ offset: start, length }))).toEqual(data);
  expect(extents.reduce((sum, { length }) => sum + length, 0)).toBe(SIZE_BYTES);
});

test('qemu-img map reads a dirty bitmap in place of the allocation', async () => {
  const server = await startTidemark(`disk=${makeImage(SIZE_BYTES)},bitmap=nightly`);
  await run('qemu-io', '-f', 'raw', '-c', 'write -P 7 1M 100k', server.uri('disk'));
  const socket = server.uri('disk').split('socket=')[1];
  const options = `driver=nbd,export=disk,server.type=unix,server.path=${socket},x-dirty-bitmap=qemu:dirty-bitmap:nightly`;

  const extents: { start: number; length: number; data: boolean }[] = JSON.parse(
    await run('qemu-img', 'map', '--output=json', '--image-opts', options),
  );

  // QEMU shows dirty parts as "no data".
  const dirty = extents.filter((extent) => !extent.data);
  expect(dirty.map(({ start, length }) => ({ offset: start, length }))).toEqual([{ offset: MIB, length: 128 * KIB }]);
});

test('qemu-img bench writes its pattern, at a depth of 64', async () => {
  const image = makeImage(SIZE_BYTES);
  const server = await startTidemark(`disk=${image},bitmap=nightly`);

  const writes = ['-w', '--pattern=171', '-c', '128', '-d', '64', '-s', '64k', '-o', String(2 * MIB)];
  await run('qemu-img', 'bench', '-f', 'raw', '-t', 'none', ...writes, server.uri('disk'));

  const expected = Buffer.alloc(SIZE_BYTES);
  expected.fill(171, 2 * MIB, 10 * MIB);
  expect(readFileSync(image).equals(expected)).toBe(true);
  expect(await dirtyRanges(server.uri('disk'), 'nightly')).toEqual([{ offset: 2 * MIB, length: 8 * MIB }]);
});

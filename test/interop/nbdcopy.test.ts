import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { KIB, MIB } from '../../src/base/units.js';
import { expectSameContent, makeImage } from '../support/image.js';
import { run } from '../support/run.js';
import { dirtyRanges, statusMap } from '../support/status-map.js';
import { startTidemark } from '../support/tidemark.js';

const SIZE_BYTES = 32 * MIB;
const data = [
  { offset: 0, length: 5 * MIB },
  { offset: 16 * MIB + 4 * KIB, length: 3 * MIB },
  { offset: SIZE_BYTES - 64 * KIB, length: 64 * KIB },
];
const severalConnections = ['--connections=4', '--requests=16', '--flush'];

test('nbdcopy fills an export over several connections', async () => {
  const source = makeImage(SIZE_BYTES, data);
  const image = makeImage(SIZE_BYTES, [{ offset: 8 * MIB, length: MIB }]);
  const server = await startTidemark(`disk=${image},bitmap=nightly`);

  await run('nbdcopy', ...severalConnections, source, server.uri('disk'));

  expectSameContent(image, source);
  expect(await dirtyRanges(server.uri('disk'), 'nightly')).toEqual([{ offset: 0, length: SIZE_BYTES }]);
});

test('nbdcopy reads an export over several connections, and keeps its holes', async () => {
  const image = makeImage(SIZE_BYTES, data);
  const copy = makeImage(SIZE_BYTES);
  const server = await startTidemark(`disk=${image},bitmap=nightly`);

  await run('nbdcopy', ...severalConnections, server.uri('disk'), copy);

  expectSameContent(copy, image);
  expect(await dirtyRanges(server.uri('disk'), 'nightly')).toEqual([]);
});

test('nbdcopy copies from one export to another', async () => {
  const [from, to] = [makeImage(SIZE_BYTES, data), makeImage(SIZE_BYTES)];
  const server = await startTidemark(`from=${from}`, `to=${to}`);

  await run('nbdcopy', ...severalConnections, server.uri('from'), server.uri('to'));

  expect(readFileSync(to).equals(readFileSync(from))).toBe(true);
  const allocation = (name: string) => statusMap(server.uri(name), 'base:allocation');
  expect(await allocation('to')).toEqual(await allocation('from'));
});

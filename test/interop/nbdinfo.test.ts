import { expect, test } from 'vitest';
import { KIB, MIB } from '../../src/base/units.js';
import { makeImage } from '../support/image.js';
import { run } from '../support/run.js';
import { dirtyRanges, statusMap } from '../support/status-map.js';
import { startTidemark } from '../support/tidemark.js';

test('nbdinfo shows size, abilities and metadata contexts', async () => {
  const server = await startTidemark(`disk=${makeImage(8 * MIB)},bitmap=nightly,bitmap=weekly:1M`);

  const disk = JSON.parse(await run('nbdinfo', '--json', server.uri('disk')));

  expect(disk).toMatchObject({ protocol: 'newstyle-fixed', TLS: false, structured: true });
  expect(disk.exports).toMatchObject([
    {
      'export-name': 'disk',
      'export-size': 8 * MIB,
      contexts: ['base:allocation', 'qemu:allocation-depth', 'qemu:dirty-bitmap:nightly', 'qemu:dirty-bitmap:weekly'],
      is_read_only: false,
      can_cache: true,
      can_df: true,
      can_fast_zero: true,
      can_flush: true,
      can_fua: true,
      can_multi_conn: true,
      can_trim: true,
      can_zero: true,
      block_size_minimum: 512,
    },
  ]);
});

test('nbdinfo says that an export is read-only', async () => {
  const server = await startTidemark(`archive=${makeImage(MIB)},readonly`);
  expect(JSON.parse(await run('nbdinfo', '--json', server.uri('archive'))).exports).toMatchObject([
    { is_read_only: true, can_trim: false, can_zero: false, 'export-size': MIB },
  ]);
});

test('nbdinfo --list shows every export, over TCP too', async () => {
  const server = await startTidemark(`first=${makeImage(MIB)}`, `second=${makeImage(2 * MIB)},bitmap=nightly`);
  for (const uri of [server.uri(''), `nbd://127.0.0.1:${server.port}`]) {
    expect(JSON.parse(await run('nbdinfo', '--json', '--list', uri)).exports).toMatchObject([
      { 'export-name': 'first', 'export-size': MIB, contexts: ['base:allocation', 'qemu:allocation-depth'] },
      {
        'export-name': 'second',
        'export-size': 2 * MIB,
        contexts: ['base:allocation', 'qemu:allocation-depth', 'qemu:dirty-bitmap:nightly'],
      },
    ]);
  }
});

test('nbdinfo --map shows which parts of a sparse image hold data', async () => {
  const data = { offset: MIB, length: 256 * KIB };
  const server = await startTidemark(`disk=${makeImage(4 * MIB, [data])}`);
  expect(await statusMap(server.uri('disk'), 'base:allocation')).toEqual([
    { offset: 0, length: MIB, type: 3 },
    { ...data, type: 0 },
    { offset: MIB + 256 * KIB, length: 3 * MIB - 256 * KIB, type: 3 },
  ]);
});

test('nbdinfo --map shows what was written, in the granules of each bitmap', async () => {
  const server = await startTidemark(`disk=${makeImage(4 * MIB)},bitmap=nightly,bitmap=coarse:1M`);
  await run('qemu-io', '-f', 'raw', '-c', 'write -P 7 70000 1000', '-c', 'write -z 2M 64k', server.uri('disk'));
  expect(await dirtyRanges(server.uri('disk'), 'nightly')).toEqual([
    { offset: 64 * KIB, length: 64 * KIB },
    { offset: 2 * MIB, length: 64 * KIB },
  ]);
  expect(await dirtyRanges(server.uri('disk'), 'coarse')).toEqual([
    { offset: 0, length: MIB },
    { offset: 2 * MIB, length: MIB },
  ]);
});

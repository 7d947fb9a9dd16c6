import { describe, expect, test } from 'vitest';
import type { ExportSpec } from '../../src/api/export.js';
import { compareExports, type ServedExport } from '../../src/server/config-difference.js';

const spec = (name: string, change: Partial<ExportSpec> = {}): ExportSpec => ({
  name,
  path: `/${name}.img`,
  readOnly: false,
  bitmaps: [],
  ...change,
});

const served = (name: string, change: Partial<ServedExport> = {}): ServedExport => ({
  name,
  origin: 'file',
  path: `/${name}.img`,
  readOnly: false,
  minBlockBytes: 512,
  description: '',
  needsTls: false,
  bitmaps: [],
  ...change,
});

const nothing = { added: [], moved: [], removed: [], adopted: [], described: [], bitmaps: [], notApplied: [] };

test('what is served as the file says needs no change', () => {
  const bitmaps = [{ name: 'nightly', granularityBytes: 4096 }];
  const same = compareExports(
    [spec('a', { description: 'first', tls: 'required', minBlockBytes: 1, bitmaps })],
    [served('a', { description: 'first', needsTls: true, minBlockBytes: 1, bitmaps: ['nightly', 'other'] })],
  );
  expect(same).toEqual(nothing);
});

test('an export is added when the file has it, and removed when the file no longer has it', () => {
  expect(compareExports([spec('a'), spec('c')], [served('a'), served('b')])).toEqual({
    ...nothing,
    added: [spec('c')],
    removed: ['b'],
  });
});

test('an export under another name waits until its disk is free', () => {
  expect(compareExports([spec('new', { path: '/a.img' })], [served('a')])).toEqual({
    ...nothing,
    moved: [spec('new', { path: '/a.img' })],
    removed: ['a'],
  });
});

test.each(['flag', 'kept', 'temporary'] as const)('the file does not remove an export with the origin %s', (origin) => {
  expect(compareExports([], [served('a', { origin })])).toEqual(nothing);
});

describe.each(['kept', 'temporary'] as const)('an export with the origin %s that is in the file now', (origin) => {
  test('belongs to the file, and changes with it', () => {
    const description = 'changed';
    expect(compareExports([spec('a', { description })], [served('a', { origin })])).toEqual({
      ...nothing,
      adopted: ['a'],
      described: [spec('a', { description })],
    });
  });

  test('stays as it is if the file means another disk', () => {
    const wanted = spec('a', { path: '/other.img', description: 'changed', bitmaps: [{ name: 'nightly' }] });
    expect(compareExports([wanted], [served('a', { origin })])).toEqual({
      ...nothing,
      notApplied: [{ setting: 'export a', why: expect.stringContaining('/a.img; run tidemark export remove a') }],
    });
  });
});

test('the description, the use of TLS and new bitmaps can change', () => {
  const specs = [
    spec('a', { description: 'changed' }),
    spec('b', { tls: 'required' }),
    spec('c'),
    spec('d', { bitmaps: [{ name: 'nightly' }, { name: 'weekly', granularityBytes: 4096 }] }),
  ];
  const before = [served('a'), served('b'), served('c', { needsTls: true }), served('d', { bitmaps: ['nightly'] })];
  expect(compareExports(specs, before)).toEqual({
    ...nothing,
    described: specs.slice(0, 3),
    bitmaps: [{ exportName: 'd', bitmap: { name: 'weekly', granularityBytes: 4096 } }],
  });
});

test.each([
  ['path', { path: '/other.img' }],
  ['readonly', { readOnly: true }],
  ['min-block', { minBlockBytes: 4096 }],
  ['path and min-block', { path: '/other.img', minBlockBytes: 1 }],
] as const)('a disk that is served keeps its %s', (what, change) => {
  expect(compareExports([spec('a', change)], [served('a')])).toEqual({
    ...nothing,
    notApplied: [
      {
        setting: 'export a',
        why: `a disk that is served keeps its ${what}; run tidemark export remove a, then reload`,
      },
    ],
  });
});

test('the size and the format of a new image change nothing later', () => {
  expect(compareExports([spec('a', { sizeBytes: 1024, format: 'raw' })], [served('a')])).toEqual(nothing);
});

test('a relative path is the same as the absolute one', () => {
  const path = `${process.cwd()}/a.img`;
  expect(compareExports([spec('a', { path: 'a.img' })], [served('a', { path })])).toEqual(nothing);
});

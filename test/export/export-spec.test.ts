import { expect, test } from 'vitest';
import { GIB, KIB } from '../../src/base/units.js';
import { EXPORT_GRAMMAR, parseExportSpec } from '../../src/export/export-spec.js';

test('a name and a path are sufficient', () => {
  expect(parseExportSpec('disk0=/images/disk0.img')).toEqual({
    name: 'disk0',
    path: '/images/disk0.img',
    readOnly: false,
    bitmaps: [],
  });
});

test('options give the size, read-only and any number of bitmaps', () => {
  expect(parseExportSpec('d=a.img,size=10G,readonly,bitmap=nightly,bitmap=hourly:64K')).toEqual({
    name: 'd',
    path: 'a.img',
    sizeBytes: 10 * GIB,
    readOnly: true,
    bitmaps: [{ name: 'nightly' }, { name: 'hourly', granularityBytes: 64 * KIB }],
  });
});

test.each([1, 512, 4096])('min-block gives the smallest block: %d', (minBlockBytes) => {
  expect(parseExportSpec(`d=a.img,min-block=${minBlockBytes}`)).toMatchObject({ minBlockBytes });
});

test('a doubled comma stands for one in the path, and a path may hold an equals sign', () => {
  expect(parseExportSpec('d=/a,,b/c=d.img,readonly')).toMatchObject({ path: '/a,b/c=d.img', readOnly: true });
});

test.each([
  ['', 'names no path'],
  ['disk', 'names no path'],
  ['=/a.img', 'names no path'],
  ['d=', 'names no path'],
  ['d=,readonly', 'names no path'],
  ['d=a.img,size=ten', '"ten" in size=ten is not a size'],
  ['d=a.img,bitmap=n:big', '"n:big" in bitmap=n:big is not a bitmap such as "nightly" or "weekly:1M"'],
  ['d=a.img,min-block=1024', '"1024" in min-block=1024 is not one of 1, 512, 4096'],
  ['d=a.img,colour=red', '"colour=red" is not an option of an export'],
  ['d=a.img,readonly=yes', '"readonly=yes" is not an option of an export'],
  ['d=a.img,size', '"size" is not an option of an export'],
  ['d=a.img,name=b', '"name=b" is not an option of an export'],
  ['d=a.img,constructor=b', '"constructor=b" is not an option of an export'],
  ['d=a.img,', '"" is not an option of an export'],
])('"%s" is refused: %s', (text, message) => {
  expect(() => parseExportSpec(text)).toThrow(message);
});

test('the grammar in help texts and errors names every option', () => {
  expect(EXPORT_GRAMMAR).toBe(
    'NAME=PATH[,size=SIZE][,readonly][,format=raw][,min-block=1|512|4096][,tls=required][,bitmap=BITMAP[:GRANULARITY]]...',
  );
});

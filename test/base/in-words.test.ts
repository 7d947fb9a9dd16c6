import { expect, test } from 'vitest';
import { inWords } from '../../src/base/in-words.js';
import { GIB } from '../../src/base/units.js';

test('fields become words: sizes have units, fractions are rounded, and quotes are where the end would not be clear', () => {
  expect(
    inWords({
      export: 'vm1',
      estimatedReadBytes: 1.2 * GIB,
      seconds: 34.5678,
      p99Milliseconds: 12.345,
      id: 7,
      bytesRead: 512,
    }),
  ).toBe('export=vm1 estimatedRead="1.2 GiB" seconds=34.6 p99Milliseconds=12.3 id=7 read="512 B"');
  expect(inWords({ by: 'CN=b (10.0.0.7)', empty: '', no: undefined, none: null, ok: true })).toBe(
    'by="CN=b (10.0.0.7)" empty="" none=null ok=true',
  );
  expect(inWords({ exports: ['a', 'b c'], parts: [{ export: 'a', mode: 'full' }] })).toBe(
    'exports=[a, "b c"] parts={export=a mode=full}',
  );
});

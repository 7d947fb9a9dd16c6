import { describe, expect, test } from 'vitest';
import { GIB } from '../../src/base/units.js';
import { parseThresholdSpec } from '../../src/watch/thresholds/threshold-spec.js';

const all = [expect.objectContaining({ pattern: '*' })];

test.each([
  ['dirty,bitmap=nightly,share=30', { kind: 'dirty', name: 'dirty', bitmap: 'nightly', limit: { percent: 30 } }],
  [
    'dirty,bitmap=nightly,size=2G,name=big',
    { kind: 'dirty', name: 'big', bitmap: 'nightly', limit: { bytes: 2 * GIB } },
  ],
  ['backup-age,bitmap=a,,b,age=26h', { kind: 'backup-age', name: 'backup-age', bitmap: 'a,b', ageSeconds: 26 * 3600 }],
  ['room,of=state,size=1G', { kind: 'room', name: 'room', of: 'state', bytes: GIB }],
])('%s', (spec, expected) => {
  expect(parseThresholdSpec(spec)).toEqual({ exports: all, ...expected });
});

test('the exports that it is about', () => {
  const { exports } = parseThresholdSpec('room,of=disk,size=1G,exports=vm*,exports=db?');
  expect(exports.map(({ pattern }) => pattern)).toEqual(['vm*', 'db?']);
});

describe('refused is', () => {
  test.each([
    ['', '"" is not one of dirty, backup-age, room'],
    ['dirty', 'a dirty threshold needs a bitmap, and a size or a share'],
    ['dirty,bitmap=x,size=1G,share=2', 'a dirty threshold needs'],
    ['dirty,bitmap=x,size=1G,age=2h', 'a dirty threshold needs'],
    ['dirty,bitmap=x,share=101', '"101" in share=101 is not a whole number from 1 to 100'],
    ['backup-age,age=1h', 'a backup-age threshold needs a bitmap and an age'],
    ['backup-age,bitmap=x,age=0', '"0" in age=0 is not a time'],
    ['backup-age,bitmap=x,age=soon', '"soon" in age=soon is not a time'],
    ['room,size=1G', 'a room threshold needs a size and of'],
    ['room,of=state,size=1G,exports=a', 'a room threshold needs'],
    ['room,of=attic,size=1G', '"attic" in of=attic is not one of state, scratch, disk'],
    ['room,of=state,size=1G,when=now', '"when=now" is not an option of a threshold'],
    ['room,of=state,size=1G,name=a b', '"a b" in name=a b is not a name'],
  ])('%j', (spec, message) => {
    expect(() => parseThresholdSpec(spec)).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.stringContaining(message) }),
    );
  });
});

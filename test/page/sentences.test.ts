import { expect, test } from 'vitest';
import { sentenceOf } from '../../src/page/sentences.js';

const at = '2026-11-28T12:00:00Z';

test.each([
  [{ type: 'export-added', export: 'vm1' }, 'vm1 is served now'],
  [
    { type: 'bitmaps-changed', export: 'vm1', actions: [{ type: 'bitmap-add', bitmap: 'nightly' }] },
    'Bitmaps of vm1 changed: add nightly',
  ],
  [
    { type: 'backup-aborted', backup: 'b1', exports: ['vm1', 'vm2'], reason: 'expired', by: 'CN=a' },
    'The backup b1 of vm1, vm2 was aborted: expired, by CN=a',
  ],
  [{ type: 'backup-scratch-filling', backup: 'b1', percent: 80 }, 'The scratch space of the backup b1 is 80 % full'],
  [{ type: 'something-new', export: 'vm1' }, 'something-new · vm1'],
])('%o in words', (event, sentence) => {
  expect(sentenceOf({ ...event, at })).toBe(sentence);
});

import { expect, test } from 'vitest';
import type { Event } from '../../src/api/event.js';
import { sentenceOf } from '../../src/page/sentences.js';

test.each([
  [{ type: 'server-started', exportCount: 2 }, 'The server started with 2 exports'],
  [{ type: 'export-added', export: 'vm1' }, 'vm1 is served now'],
  [
    { type: 'bitmaps-changed', export: 'vm1', actions: [{ type: 'bitmap-add', bitmap: 'nightly' }] },
    'Bitmaps of vm1 changed: add nightly',
  ],
  [
    {
      type: 'backup-begun',
      backup: 'b1',
      exports: ['vm1', 'vm2'],
      parts: [
        { export: 'vm1', mode: 'full', fullReason: { code: 'no-base', detail: 'there is no base' } },
        { export: 'vm2', mode: 'incremental' },
      ],
    },
    'The backup b1 of vm1, vm2 began; vm1 is read in full: there is no base',
  ],
  [
    { type: 'backup-aborted', backup: 'b1', exports: ['vm1'], reason: 'expired', seconds: 61, by: 'CN=a' },
    'The backup b1 of vm1 was aborted after 1 min 1 s: expired (CN=a)',
  ],
  [{ type: 'backup-scratch-filling', backup: 'b1', percent: 80 }, 'The scratch space of the backup b1 is 80 % full'],
  [{ type: 'something-new', export: 'vm1' }, 'something-new · vm1'],
])('%o in words', (event, sentence) => {
  expect(sentenceOf({ ...event, id: 1, at: '2026-11-28T12:00:00Z' } as unknown as Event)).toBe(sentence);
});

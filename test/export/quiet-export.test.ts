import { expect, test } from 'vitest';
import { KIB } from '../../src/base/units.js';
import { changeAtOneInstant } from '../../src/export/cut.js';
import { ScratchBudget } from '../../src/snapshot/scratch-budget.js';
import { MemoryDevice } from '../support/memory-device.js';
import { memoryRegistry } from '../support/memory-server.js';

test('the inside of an export can be changed only as long as its writes are held back', async () => {
  const exports = await memoryRegistry([{ name: 'disk', bitmaps: ['nightly'] }, { name: 'other' }]);
  const [served, other] = [exports.get('disk'), exports.get('other')];
  const { made: quiet } = await changeAtOneInstant([served], {
    apply: (_undos, instant) => {
      expect(() => instant.get(other)).toThrow('only an export that takes part in a cut can be changed');
      expect(instant.get(served).bitmaps.list()).toHaveLength(1);
      return instant.get(served);
    },
  });
  const refusal = 'an export is changed only while its writes are held back';
  expect(() => quiet.bitmaps).toThrow(refusal);
  const { sizeBytes } = served;
  const scratch = new MemoryDevice(sizeBytes);
  const options = { sizeBytes, scratch, pieceBytes: 64 * KIB, budget: new ScratchBudget(0) };
  expect(() => quiet.snapshot({ ...options, onScratchFull: 'fail-view', onFailure: () => {} })).toThrow(refusal);
});

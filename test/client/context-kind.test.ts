import { expect, test } from 'vitest';
import { contextKind } from '../../src/client/context-kind.js';

/** For each context: its mark, the words for the statuses from 0 on, and which of them are marked. */
test.each([
  ['base:allocation', 'allocated', ['data', 'hole', 'zero', 'hole,zero'], [0, 2]],
  ['qemu:dirty-bitmap:nightly', 'dirty', ['clean', 'dirty', '2'], [1]],
  ['tidemark:overwritten', 'overwritten', ['unchanged', 'overwritten', '2'], [1, 2]],
  ['qemu:allocation-depth', 'allocated', ['unallocated', 'local', 'backing depth 2'], [1, 2]],
  ['x-other:depth', 'set', ['0', '1', '2'], [1, 2]],
])('the statuses of %s', (name, mark, descriptions, marked) => {
  const kind = contextKind(name);
  const statuses = descriptions.map((_, status) => status);
  expect(kind.mark).toBe(mark);
  expect(statuses.map(kind.describe)).toEqual(descriptions);
  expect(statuses.filter(kind.isMarked)).toEqual(marked);
});

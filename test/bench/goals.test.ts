import { expect, test } from 'vitest';
import { Goals } from '../../bench/report/goals.js';

test('a line says if it misses its goal, and the summary counts and names those that do', () => {
  const goals = new Goals();
  expect(goals.cells('reads', 1.25, '**1.25**', { atLeast: 1.25 })).toEqual(['**1.25**', '≥ 1.25']);
  expect(goals.cells('writes', 0.94, '**0.94**', { atLeast: 1.1 })).toEqual(['**0.94**, misses 1.1', '≥ 1.1']);
  expect(goals.cells('start', 4.2, '4.2 s', { atMost: 4, unit: 's' })).toEqual(['4.2 s, misses 4 s', '≤ 4 s']);
  expect(goals.cells('memory', 7, '7 KiB', undefined)).toEqual(['7 KiB', '-']);
  expect(goals.summary()).toEqual([
    '1 of 3 lines with a goal reach it. These do not:',
    '- writes (**0.94**)\n- start (4.2 s)',
  ]);
});

test('a figure is compared as it is printed', () => {
  const goals = new Goals();
  for (const figure of [1.096, 1.1]) goals.cells('', figure, '', { atLeast: 1.1 });
  for (const figure of [0.704, 0.7]) goals.cells('', figure, '', { atMost: 0.7 });
  expect(goals.summary()).toEqual(['4 of 4 lines with a goal reach it.']);
  goals.cells('', 1.094, '', { atLeast: 1.1 });
  expect(goals.summary()[0]).toMatch(/^4 of 5/);
});

test('nothing is summed up where no line has a goal', () => {
  const goals = new Goals();
  goals.cells('', 1, '', undefined);
  expect(goals.summary()).toEqual([]);
});

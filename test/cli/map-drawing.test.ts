import { describe, expect, test } from 'vitest';
import { GIB, KIB, MIB, TIB } from '../../src/base/units.js';
import { drawMap } from '../../src/cli/map/map-drawing.js';
import { layoutMap, type MapLayout } from '../../src/cli/map/map-layout.js';
import type { ContextSurvey } from '../../src/cli/map/map-survey.js';

const BASE = 'base:allocation';
const DIRTY = 'qemu:dirty-bitmap:nightly';

function survey(layout: MapLayout, name: string, shares: Record<number, number>): ContextSurvey {
  const markedBytes = new Float64Array(layout.sliceCount);
  for (const [slice, share] of Object.entries(shares)) markedBytes[Number(slice)] = share * layout.sliceBytes;
  const totalMarkedBytes = markedBytes.reduce((sum, bytes) => sum + bytes, 0);
  return { name, markedBytes, totalMarkedBytes, runs: Object.keys(shares).length };
}

const picture = (layout: MapLayout, ...contexts: ContextSurvey[]) =>
  drawMap({ exportName: 'demo', layout, contexts }, false);

describe('a map', () => {
  test('shows each context with its totals, its rows and their offsets, and a legend', () => {
    const layout = layoutMap(MIB, 44);
    const drawn = picture(
      layout,
      survey(layout, BASE, { 0: 1, 1: 1, 2: 0.5 }),
      survey(layout, DIRTY, { 40: 0.01, 41: 0.4, 42: 0.99, 43: 1 }),
    );
    expect(drawn.split('\n')).toEqual([
      'demo: 1 MiB, one character is 4 KiB',
      '',
      'base:allocation: 10 KiB allocated, 1.0 %, in 3 extents',
      '       0 B  ██▒·····························',
      '   128 KiB  ································',
      '   256 KiB  ································',
      '   384 KiB  ································',
      '   512 KiB  ································',
      '   640 KiB  ································',
      '   768 KiB  ································',
      '   896 KiB  ································',
      '',
      'qemu:dirty-bitmap:nightly: 9.6 KiB dirty, 0.9 %, in 4 extents',
      '       0 B  ································',
      '   128 KiB  ········░▒▓█····················',
      '   256 KiB  ································',
      '   384 KiB  ································',
      '   512 KiB  ································',
      '   640 KiB  ································',
      '   768 KiB  ································',
      '   896 KiB  ································',
      '',
      '            · none  ░ little  ▒ half  ▓ most  █ all of the slice',
    ]);
  });

  test('draws full and nearly full slices differently, and empty and nearly empty ones', () => {
    const layout = layoutMap(64 * KIB, 80);
    const drawn = picture(layout, survey(layout, DIRTY, { 0: 1, 1: 1 - 1 / 4096, 2: 1 / 4096 }));
    expect(drawn).toContain('  █▓░··');
  });

  test('draws a short last slice solid when all of it is marked', () => {
    const layout = layoutMap(4 * KIB + 512, 80);
    expect(picture(layout, survey(layout, DIRTY, { 1: 512 / 4096 }))).toContain('  ·█\n');
  });

  test('says if nothing, or almost nothing, is marked', () => {
    const layout = layoutMap(16 * TIB, 80);
    expect(picture(layout, survey(layout, DIRTY, {}))).toContain('nightly: nothing dirty\n');
    const little = picture(layout, survey(layout, DIRTY, { 5: 2 ** -20 }));
    expect(little).toContain('nightly: 32 KiB dirty, less than 0.1 %, in 1 extent\n');
  });

  test('uses colours only if asked to', () => {
    const layout = layoutMap(MIB, 80);
    const contexts = [survey(layout, BASE, { 3: 1 }), survey(layout, DIRTY, { 1: 0.5 })];
    expect(picture(layout, ...contexts)).not.toContain('\x1b');
    const coloured = drawMap({ exportName: 'demo', layout, contexts }, true);
    expect(coloured).toContain('\x1b[36m█\x1b[39m');
    expect(coloured).toContain('\x1b[33m▒\x1b[39m');
  });

  test('does not let a server control the terminal', () => {
    const layout = layoutMap(MIB, 80);
    const drawn = drawMap({ exportName: '\x1b[2Jdemo', layout, contexts: [survey(layout, 'x:\x07', {})] }, false);
    expect(/[^\P{C}\n]/u.test(drawn)).toBe(false);
  });
});

describe('the slices of a map', () => {
  test.each([
    [1 * GIB, 80],
    [20 * GIB, 200],
    [16 * TIB, 80],
    [64 * TIB, 37],
    [512, 80],
    [3 * MIB + 512, 120],
  ])('of %i bytes fit a terminal of %i columns, in eight rows', (sizeBytes, terminalColumns) => {
    const { columns, sliceBytes, sliceCount } = layoutMap(sizeBytes, terminalColumns);
    expect(columns + 12).toBeLessThanOrEqual(terminalColumns);
    expect(Math.ceil(sliceCount / columns)).toBeLessThanOrEqual(8);
    expect(sliceCount * sliceBytes).toBeGreaterThanOrEqual(sizeBytes);
    expect((sliceCount - 1) * sliceBytes).toBeLessThan(sizeBytes);
    expect(Number.isInteger(Math.log2(sliceBytes))).toBe(true);
  });

  test('keep a readable width on the narrowest terminal', () => {
    expect(layoutMap(GIB, 10).columns).toBe(8);
  });
});

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Glob } from '../../src/access/glob.js';

test.each([
  ['vm1', 'vm1', true],
  ['vm1', 'vm12', false],
  ['vm*', 'vm', true],
  ['vm*', 'VM1', false],
  ['vm?', 'vm1', true],
  ['vm?', 'vm', false],
  ['*', 'a,b.c/d@e', true],
  ['*', '', false],
  ['', '', false],
  ['*1', 'vm11', true],
  ['a*b*c', 'aXbYbZc', true],
  ['a*b*c', 'aXbYbZ', false],
  ['?', '\u{1f4be}', true],
  ['.*', 'vm1', false],
  ['[ab]', 'a', false],
  ['\\*', 'vm', false],
])('%s matches %s: %s', (pattern, name, matches) => {
  expect(new Glob(pattern).matches(name)).toBe(matches);
});

test('only stars match every name', () => {
  expect(['*', '**', '?*', 'a*', ''].map((pattern) => new Glob(pattern).matchesAll)).toEqual([
    true,
    true,
    false,
    false,
    false,
  ]);
});

/** A second writing of the rules, which is slow. */
function matchesSlowly(pattern: string, name: string): boolean {
  if (pattern === '') return name === '';
  if (pattern[0] === '*') {
    return matchesSlowly(pattern.slice(1), name) || (name !== '' && matchesSlowly(pattern, name.slice(1)));
  }
  if (name === '') return false;
  return (pattern[0] === '?' || pattern[0] === name[0]) && matchesSlowly(pattern.slice(1), name.slice(1));
}

test('a pattern matches what the rules say', () => {
  const letters = (from: string, least: number) =>
    fc.array(fc.constantFrom(...from), { minLength: least, maxLength: 8 }).map((parts) => parts.join(''));
  fc.assert(
    fc.property(letters('ab*?', 0), letters('ab', 1), (pattern, name) => {
      expect(new Glob(pattern).matches(name)).toBe(matchesSlowly(pattern, name));
    }),
    { numRuns: 2000 },
  );
});

test('a pattern with many stars takes no longer than one with few', () => {
  const began = performance.now();
  expect(new Glob(`${'a*'.repeat(500)}b`).matches('a'.repeat(4000))).toBe(false);
  expect(performance.now() - began).toBeLessThan(1000);
});

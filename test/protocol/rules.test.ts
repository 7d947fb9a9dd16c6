import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '../..');

/** The numbers at the beginning of titles in a test. */
function citedIn(file: string): string[] {
  return [...readFileSync(file, 'utf8').matchAll(/\(\s*['"`](\d\.\d) /g)].map(([, section]) => section!);
}

test('each section that a test cites is in docs/protocol.md, and each section there is cited', () => {
  const files = readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' });
  const tests = files.filter((file) => file.endsWith('.test.ts')).map((file) => join(root, 'test', file));
  const document = readFileSync(join(root, 'docs/protocol.md'), 'utf8');
  const sections = [...document.matchAll(/^### (\d\.\d) /gm)].map(([, section]) => section);
  expect(sections).toEqual([...new Set(tests.flatMap(citedIn))].sort());
});

import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type ErrorCode, errorTitles } from '../../src/base/coded-error.js';
import { errorStatuses } from '../../src/control/error-statuses.js';

const text = readFileSync(resolve(import.meta.dirname, '../../docs/errors.md'), 'utf8');

/** The text under each heading of docs/errors.md. */
const sections = new Map(
  text
    .split(/^## /m)
    .slice(1)
    .map((section): [string, string] => {
      const [heading = '', ...body] = section.split('\n');
      return [heading, body.join(' ').trim()];
    }),
);

describe('docs/errors.md', () => {
  test('lists exactly the codes of the catalogue, in the same order', () => {
    expect([...sections.keys()]).toEqual(Object.keys(errorTitles));
  });

  test.each(Object.keys(errorTitles) as ErrorCode[])(
    'begins the section %s with its status and title, and explains it',
    (code) => {
      const [status, title] = [errorStatuses[code], errorTitles[code]];
      const beginning = `${status}: ${title}`;
      const section = sections.get(code) ?? '';
      expect(section.slice(0, beginning.length)).toBe(beginning);
      expect(section.length).toBeGreaterThan(beginning.length + 20);
    },
  );

  test('has a different anchor for each heading', () => {
    const anchors = [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading]) => heading!.toLowerCase().replaceAll(' ', '-'));
    expect(new Set(anchors).size).toBe(anchors.length);
  });
});

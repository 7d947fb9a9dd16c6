import type { Backups } from '../backup/backups.js';
import type { SeenExports } from '../export/seen-exports.js';
import { mayBackUp } from './seen-backups.js';

/** A label with its value, in which a backslash escapes the next character. */
const LABEL = /[{,](export|backup)="((?:[^"\\]|\\.)*)"/g;
const ESCAPES: Readonly<Record<string, string>> = { n: '\n' };

/** The samples, in the Prometheus text format, without those of exports and backups that the caller may not see. */
export function seenSamples(text: string, seen: SeenExports, backups: Backups): string {
  const visible = new Set(
    backups
      .list()
      .filter((record) => mayBackUp(seen, record))
      .map(({ id }) => id),
  );
  const isVisible = (kind: string, value: string) => (kind === 'export' ? seen.may('list', value) : visible.has(value));
  return text
    .split('\n')
    .filter((line) => line.startsWith('#') || labelsOf(line).every(([kind, value]) => isVisible(kind, value)))
    .join('\n');
}

function labelsOf(line: string): [string, string][] {
  return [...line.matchAll(LABEL)].map(([, kind, value]) => [kind!, unescaped(value!)]);
}

function unescaped(value: string): string {
  return value.replace(/\\(.)/gs, (_escape, character: string) => ESCAPES[character] ?? character);
}

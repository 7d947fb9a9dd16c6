import type { Backups } from '../backup/backups.js';
import type { SeenExports } from '../export/seen-exports.js';
import { mayBackUp } from './seen-backups.js';

/** A label with its value, in which a backslash escapes the next character. */
const LABEL = /[{,](export|backup|bitmap|command)="((?:[^"\\]|\\.)*)"/g;
const ESCAPES: Readonly<Record<string, string>> = { n: '\n' };

/** The samples, in the Prometheus text format, without those of exports, bitmaps and backups that the caller may not see. */
export function seenSamples(text: string, seen: SeenExports, backups: Backups): string {
  const visible = new Set(
    backups
      .list()
      .filter((record) => mayBackUp(seen, record))
      .map(({ id }) => id),
  );
  const isVisible = ({ export: exportName, bitmap, backup, command }: Labels) => {
    if (backup !== undefined && !visible.has(backup)) return false;
    if (exportName === undefined) return true;
    return bitmap === undefined && command === undefined
      ? seen.may('list', exportName)
      : seen.maySeeBitmaps(exportName);
  };
  return text
    .split('\n')
    .filter((line) => line.startsWith('#') || isVisible(labelsOf(line)))
    .join('\n');
}

interface Labels {
  readonly export?: string;
  readonly bitmap?: string;
  readonly backup?: string;
  readonly command?: string;
}

function labelsOf(line: string): Labels {
  return Object.fromEntries([...line.matchAll(LABEL)].map(([, label, value]) => [label!, unescaped(value!)]));
}

function unescaped(value: string): string {
  return value.replace(/\\(.)/gs, (_escape, character: string) => ESCAPES[character] ?? character);
}

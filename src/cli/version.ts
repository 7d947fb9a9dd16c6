import { readFileSync } from 'node:fs';

/** The version in package.json, which is next to the folder of the built program. */
export function readVersion(): string {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  return version;
}

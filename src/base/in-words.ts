import { formatSize } from './units.js';

/** Fields on one line, for people: `export=vm1 estimatedRead="1.2 GiB" took="34 s"`. Undefined ones are left out. */
export function inWords(fields: object): string {
  return Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => fieldInWords(key, value))
    .join(' ');
}

function fieldInWords(key: string, value: unknown): string {
  if (typeof value === 'number') {
    if (key.endsWith('Bytes')) return `${key.slice(0, -'Bytes'.length)}=${quoted(formatSize(value))}`;
    if (key === 'seconds') return `took=${quoted(`${rounded(value)} s`)}`;
    if (key.endsWith('Milliseconds'))
      return `${key.slice(0, -'Milliseconds'.length)}=${quoted(`${rounded(value)} ms`)}`;
  }
  return `${key}=${valueInWords(value)}`;
}

function valueInWords(value: unknown): string {
  if (typeof value === 'string') return quoted(value);
  if (Array.isArray(value)) return `[${value.map(valueInWords).join(', ')}]`;
  return typeof value === 'object' && value !== null ? `{${inWords(value)}}` : String(value);
}

/** Quotes are only needed where the end of the text would not be clear. */
function quoted(text: string): string {
  return /^[^\s"'=,[\]{}]+$/.test(text) ? text : JSON.stringify(text);
}

function rounded(value: number): number {
  return Number(value.toPrecision(3));
}

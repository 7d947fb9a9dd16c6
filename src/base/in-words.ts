import { formatSize } from './units.js';

/**
 * Fields on one line, for people: `export=vm1 estimatedRead="1.2 GiB" seconds=34.6`. Undefined ones are left out, and the
 * only value of a list stands for the list.
 */
export function inWords(fields: object): string {
  return Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => fieldInWords(key, value))
    .join(' ');
}

function fieldInWords(key: string, value: unknown): string {
  if (typeof value === 'number') {
    const size = /^(\w+)Bytes$/.exec(key) ?? /^bytes(\w+)$/.exec(key);
    if (size) return `${startingSmall(size[1]!)}=${quoted(formatSize(value))}`;
    if (!Number.isInteger(value)) return `${key}=${Number(value.toPrecision(3))}`;
  }
  return `${key}=${valueInWords(value)}`;
}

function valueInWords(value: unknown): string {
  if (typeof value === 'string') return quoted(value);
  if (Array.isArray(value) && value.length === 1) return valueInWords(value[0]);
  if (Array.isArray(value)) return `[${value.map(valueInWords).join(', ')}]`;
  return typeof value === 'object' && value !== null ? `{${inWords(value)}}` : String(value);
}

/** Quotes are only needed where the end of the text would not be clear. */
function quoted(text: string): string {
  return /^[^\s"'=,[\]{}]+$/.test(text) ? text : JSON.stringify(text);
}

function startingSmall(name: string): string {
  return name.charAt(0).toLowerCase() + name.slice(1);
}

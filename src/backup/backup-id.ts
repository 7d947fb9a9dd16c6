import { randomInt } from 'node:crypto';

/** Crockford's base 32: no letters that are easily confused, and in sort order. */
const LETTERS = '0123456789abcdefghjkmnpqrstvwxyz';

/**
 * An id that sorts by time to the millisecond and needs no quoting in names, paths and URIs. Example:
 * `20261123-235710-x7k2`, which is the time in UTC, two characters for the milliseconds and two random ones.
 */
export function newBackupId(at: Date): string {
  const [date, time] = at.toISOString().slice(0, 19).replaceAll(/[-:]/g, '').split('T');
  const milliseconds = at.getUTCMilliseconds();
  const numbers = [Math.floor(milliseconds / 32), milliseconds % 32, randomInt(32), randomInt(32)];
  return `${date}-${time}-${numbers.map((number) => LETTERS[number]).join('')}`;
}

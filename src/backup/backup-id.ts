import { randomInt } from 'node:crypto';

/** Crockford's base 32: without letters that are mistaken for one another, and in the order in which text is sorted. */
const LETTERS = '0123456789abcdefghjkmnpqrstvwxyz';

/**
 * An id that sorts by time, to the millisecond, and fits into names, paths and URIs as it is: `20261123-235710-x7k2`, the
 * time in UTC, two letters for the milliseconds and two random ones.
 */
export function newBackupId(at: Date): string {
  const [date, time] = at.toISOString().slice(0, 19).replaceAll(/[-:]/g, '').split('T');
  const milliseconds = at.getUTCMilliseconds();
  const numbers = [Math.floor(milliseconds / 32), milliseconds % 32, randomInt(32), randomInt(32)];
  return `${date}-${time}-${numbers.map((number) => LETTERS[number]).join('')}`;
}

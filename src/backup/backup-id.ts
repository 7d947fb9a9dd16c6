import { randomInt } from 'node:crypto';
import { timedId } from '../base/timed-id.js';

/** Crockford's base 32: no letters that are easily confused, and in sort order. */
const LETTERS = '0123456789abcdefghjkmnpqrstvwxyz';

/** An id that sorts by time to the millisecond: two of its last characters are the milliseconds, two are random. */
export function newBackupId(at: Date): string {
  const milliseconds = at.getUTCMilliseconds();
  const numbers = [Math.floor(milliseconds / 32), milliseconds % 32, randomInt(32), randomInt(32)];
  return timedId(at, numbers.map((number) => LETTERS[number]).join(''));
}

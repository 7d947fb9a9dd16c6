import { randomInt } from 'node:crypto';

/** Without characters that are mistaken for one another. */
const LETTERS = 'abcdefghjkmnpqrstuvwxyz23456789';
const RANDOM_LETTERS = 4;

/** An id that sorts by time and fits into names, paths and URIs as it is: `20261123-235710-x7k2`, in UTC. */
export function newBackupId(at: Date): string {
  const [date, time] = at.toISOString().slice(0, 19).replaceAll(/[-:]/g, '').split('T');
  const letters = Array.from({ length: RANDOM_LETTERS }, () => LETTERS[randomInt(LETTERS.length)]);
  return `${date}-${time}-${letters.join('')}`;
}

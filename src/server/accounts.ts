import { readFile } from 'node:fs/promises';
import type { Accounts } from '../access/subject.js';

/** The users and groups of this machine's files. Those that only a directory service knows are not found. */
export async function readAccounts(): Promise<Accounts> {
  const [users, groups] = await Promise.all([numbersIn('/etc/passwd'), numbersIn('/etc/group')]);
  return { uidOf: (name) => users.get(name), gidOf: (name) => groups.get(name) };
}

/** Each line begins with a name, a password and a number. */
async function numbersIn(path: string): Promise<Map<string, number>> {
  const text = await readFile(path, 'utf8').catch(() => '');
  const numbers = new Map<string, number>();
  for (const line of text.split('\n')) {
    const [name, , number] = line.split(':');
    if (name && number && /^\d+$/.test(number) && !numbers.has(name)) numbers.set(name, Number(number));
  }
  return numbers;
}

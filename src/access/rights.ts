import { type Right, rights } from '../api/values.js';

export { type Right, rights };

/** Each right that somebody can have on an export, with the rights that it includes. */
const included: Readonly<Record<Right, readonly Right[]>> = {
  list: ['list'],
  read: ['read', 'list'],
  write: ['write', 'read', 'list'],
  /** To begin, commit and abort backups, and to read their views. */
  backup: ['backup', 'list'],
  admin: ['admin', 'write', 'read', 'backup', 'list'],
};

/** Whether whoever has one right has the other one too. */
export function includes(given: Right, needed: Right): boolean {
  return included[given].includes(needed);
}

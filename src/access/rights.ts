/** Each right that somebody can have on an export, with the rights that it includes. */
const included = {
  list: ['list'],
  read: ['read', 'list'],
  write: ['write', 'read', 'list'],
  /** To begin, commit and abort backups, and to read their views. */
  backup: ['backup', 'list'],
  admin: ['admin', 'write', 'read', 'backup', 'list'],
} as const;

export type Right = keyof typeof included;

export const rights = Object.keys(included) as readonly Right[];

/** Whether whoever has one right has the other one too. */
export function includes(given: Right, needed: Right): boolean {
  return (included[given] as readonly Right[]).includes(needed);
}

/** What an identity may do with an export. `backup` begins, commits and aborts backups, and reads their views. */
export type Right = 'list' | 'read' | 'write' | 'backup' | 'admin';

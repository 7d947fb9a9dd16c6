import type { Backup, BackupPart } from '../../api/backup.js';
import { formatSize } from '../../base/units.js';
import { formatSpan } from '../format.js';
import { Table } from './Table.js';

const columns = ['Backup', 'State', 'Begun', 'Bitmap', 'Exports', 'Scratch'];

interface Props {
  readonly backups: readonly Backup[];
  /** The time in milliseconds, for what is left of leases. */
  readonly now: number;
}

export function Backups({ backups, now }: Props) {
  const rows = backups.map((backup) => ({
    key: backup.id,
    cells: [
      backup.id,
      stateOf(backup, now),
      new Date(backup.startedAt).toLocaleString(),
      backup.bitmap,
      <Parts key="parts" parts={backup.exports} />,
      backup.state === 'active' ? scratchOf(backup) : '',
    ],
  }));
  return (
    <section aria-labelledby="backups">
      <h2 id="backups">Backups</h2>
      {rows.length === 0 ? (
        <p class="none">There was no backup yet that you may see.</p>
      ) : (
        <Table label="Backups" columns={columns} rows={rows} />
      )}
    </section>
  );
}

function stateOf(backup: Backup, now: number) {
  const { state, expiresAt, startedAt, endedAt, endReason, endDetail } = backup;
  if (state === 'active') {
    const left = expiresAt === undefined ? '' : `, lease ends in ${formatSpan(Date.parse(expiresAt) - now)}`;
    return (
      <>
        <strong class="good">active</strong>
        {left}
      </>
    );
  }
  const took = endedAt === undefined ? '' : ` after ${formatSpan(Date.parse(endedAt) - Date.parse(startedAt))}`;
  if (state === 'committed') return `committed${took}`;
  const why = [endReason, endDetail].filter((text) => text !== undefined).join(': ');
  return (
    <>
      <strong class="bad">aborted</strong>
      {took}
      {why && `, ${why}`}
    </>
  );
}

function Parts({ parts }: { readonly parts: readonly BackupPart[] }) {
  return (
    <ul class="parts">
      {parts.map((part) => (
        <li key={part.export}>
          {part.export}: {part.mode}
          {part.fullReason && ` (${part.fullReason.detail})`}, {formatSize(part.estimatedReadBytes)} to read
        </li>
      ))}
    </ul>
  );
}

function scratchOf({ scratch: { usedBytes, limitBytes } }: Backup): string {
  return limitBytes === undefined ? formatSize(usedBytes) : `${formatSize(usedBytes)} of ${formatSize(limitBytes)}`;
}

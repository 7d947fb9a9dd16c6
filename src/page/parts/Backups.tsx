import type { Backup, BackupPart } from '../../api/backup.js';
import type { Client } from '../../api/export.js';
import { formatSize } from '../../base/units.js';
import { formatShare, formatSpan } from '../format.js';
import { Table } from './Table.js';

const columns = ['Backup', 'State', 'Begun', 'Bitmap', 'Exports', 'Scratch'];

interface Props {
  readonly backups: readonly Backup[];
  readonly clients: readonly Client[];
  /** The time in milliseconds, for what is left of leases. */
  readonly now: number;
}

export function Backups({ backups, clients, now }: Props) {
  const rows = backups.map((backup) => ({
    key: backup.id,
    cells: [
      backup.id,
      stateOf(backup, now),
      new Date(backup.startedAt).toLocaleString(),
      backup.bitmap,
      <Parts key="parts" parts={backup.exports} clients={clients} />,
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

interface PartsProps {
  readonly parts: readonly BackupPart[];
  readonly clients: readonly Client[];
}

function Parts({ parts, clients }: PartsProps) {
  return (
    <ul class="parts">
      {parts.map((part) => (
        <li key={part.export}>
          {part.export}: {part.mode}
          {part.fullReason && ` (${part.fullReason.detail})`}, {readOf(part, clients)}
          {part.progress && (
            <progress
              aria-label={`Progress of ${part.export}`}
              max={Math.max(part.progress.totalBytes, 1)}
              value={part.progress.doneBytes}
            />
          )}
        </li>
      ))}
    </ul>
  );
}

/** How much there is to read, and how far that has come: as the agent says, or as those who read the view now tell. */
function readOf({ view, estimatedReadBytes, progress }: BackupPart, clients: readonly Client[]): string {
  if (progress) {
    const { doneBytes, totalBytes } = progress;
    return `${formatSize(doneBytes)} of ${formatSize(totalBytes)} read (${formatShare(doneBytes, totalBytes)})`;
  }
  const read = clients.filter((client) => client.export === view).reduce((sum, { bytesRead }) => sum + bytesRead, 0);
  const all = `${formatSize(estimatedReadBytes)} to read`;
  return read === 0 ? all : `${all}, ${formatSize(read)} read so far over NBD`;
}

function scratchOf({ scratch: { usedBytes, limitBytes } }: Backup): string {
  return limitBytes === undefined ? formatSize(usedBytes) : `${formatSize(usedBytes)} of ${formatSize(limitBytes)}`;
}

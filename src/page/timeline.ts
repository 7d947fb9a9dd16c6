import type { Backup, BackupPart } from '../api/backup.js';

/** A backup of one disk, as a point in time. */
interface Point {
  readonly id: string;
  /** In ISO 8601. */
  readonly at: string;
  readonly kind: 'full' | 'incremental' | 'aborted' | 'active';
  /** What became of it, and why it was a full one. */
  readonly text: string;
}

/** The backups of a disk with one bitmap, the oldest first. */
interface Timeline {
  readonly bitmap: string;
  readonly points: readonly Point[];
}

const MOST_POINTS = 60;

/** The backups of an export that the server remembers, by bitmap. */
export function timelinesOf(exportName: string, backups: readonly Backup[]): Timeline[] {
  const byBitmap = new Map<string, Point[]>();
  for (const backup of [...backups].sort((a, b) => a.startedAt.localeCompare(b.startedAt))) {
    const part = backup.exports.find((one) => one.export === exportName);
    if (!part) continue;
    const points = byBitmap.get(backup.bitmap) ?? [];
    byBitmap.set(backup.bitmap, points);
    points.push(pointOf(backup, part));
  }
  return [...byBitmap].map(([bitmap, points]) => ({ bitmap, points: points.slice(-MOST_POINTS) }));
}

function pointOf({ id, startedAt: at, state, endReason, endDetail }: Backup, part: BackupPart): Point {
  const { mode, fullReason, base } = part;
  if (state === 'aborted') return { id, at, kind: 'aborted', text: `aborted: ${endDetail ?? endReason ?? 'unknown'}` };
  const what = mode === 'full' ? `full: ${fullReason?.detail ?? 'unknown'}` : `incremental, since ${base}`;
  if (state === 'active') return { id, at, kind: 'active', text: `under way, ${what}` };
  return { id, at, kind: mode, text: what };
}

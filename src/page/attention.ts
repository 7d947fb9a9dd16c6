import type { Backup } from '../api/backup.js';
import type { ExportDescription } from '../api/export.js';
import type { Threshold } from '../api/threshold.js';
import { formatCount, formatSize } from '../base/units.js';
import { formatSpan } from './format.js';
import type { Rates } from './rates.js';
import type { View } from './store.js';

/** Something that a person should look at. */
interface Item {
  /** The larger, the more urgent. */
  readonly weight: number;
  readonly text: string;
}

/** As much of the scratch space of a backup is used when it needs attention. */
const SCRATCH_SHARE = 0.8;
/** Agents renew a lease when a quarter of it is over. One that has so little left has probably lost its agent. */
const LEASE_SHARE = 0.25;

type Known = Pick<View, 'server' | 'exports' | 'unserved' | 'backups' | 'thresholds' | 'rates' | 'at'>;

/** What needs attention, the most urgent first. */
export function attentionOf({ server, exports, unserved, backups, thresholds, rates, at }: Known): Item[] {
  const items = [
    ...unserved.map(({ name, problem }) => item(100, `The export ${name} is not served: ${problem}.`)),
    ...[...rates].flatMap(([name, points]) => failedRequests(name, points)),
    ...exports.flatMap(brokenBitmaps),
    ...backups.flatMap((backup) => (backup.state === 'active' ? worriesOf(backup, at) : [])),
    ...thresholds.flatMap(crossings),
    ...lastOnes(backups).flatMap(abortedOnes),
  ];
  const waiting = server?.memory?.waitingConnections ?? 0;
  if (waiting > 0) items.push(item(50, `${formatCount(waiting, 'client')} cannot go on until memory is free.`));
  if (server && !server.persistent) items.push(item(10, 'Bitmaps do not survive a restart of the server.'));
  return items.sort((a, b) => b.weight - a.weight);
}

function item(weight: number, text: string): Item {
  return { weight, text };
}

function brokenBitmaps({ name, bitmaps }: ExportDescription): Item[] {
  return bitmaps
    .filter(({ inconsistent }) => inconsistent)
    .map((bitmap) => {
      const why = bitmap.inconsistentReason === undefined ? '' : ` (${bitmap.inconsistentReason})`;
      return item(
        90,
        `The bitmap ${bitmap.name} of ${name} is inconsistent${why}. Remove it and add it again; the next backup is a full one.`,
      );
    });
}

function worriesOf({ id, scratch, onScratchFull, expiresAt, ttlSeconds }: Backup, at: number): Item[] {
  const items: Item[] = [];
  const { usedBytes, limitBytes } = scratch;
  if (limitBytes !== undefined && usedBytes >= SCRATCH_SHARE * limitBytes) {
    const then = onScratchFull === 'fail-writer' ? 'writes of clients fail' : 'it is aborted';
    const percent = limitBytes === 0 ? 100 : Math.floor((100 * usedBytes) / limitBytes);
    items.push(item(80, `The scratch space of the backup ${id} is ${percent} % full. When it is full, ${then}.`));
  }
  const left = expiresAt === undefined ? Number.POSITIVE_INFINITY : Date.parse(expiresAt) - at;
  if (left < LEASE_SHARE * 1000 * ttlSeconds) {
    items.push(
      item(70, `The lease of the backup ${id} ends in ${formatSpan(left)}, and its agent has not renewed it.`),
    );
  }
  return items;
}

/** For each export and bitmap, the backup that began last. */
function lastOnes(backups: readonly Backup[]): { readonly exportName: string; readonly backup: Backup }[] {
  const last = new Map<string, { exportName: string; backup: Backup }>();
  for (const backup of [...backups].sort((a, b) => a.startedAt.localeCompare(b.startedAt))) {
    for (const { export: exportName } of backup.exports) {
      last.set(JSON.stringify([exportName, backup.bitmap]), { exportName, backup });
    }
  }
  return [...last.values()];
}

function abortedOnes({ exportName, backup }: { readonly exportName: string; readonly backup: Backup }): Item[] {
  const { id, bitmap, state, endReason, endDetail } = backup;
  if (state !== 'aborted' || endReason === 'asked') return [];
  const why = endDetail ?? endReason ?? 'unknown';
  return [item(60, `The last backup of ${exportName} with the bitmap ${bitmap}, ${id}, was aborted: ${why}.`)];
}

/** The last minute, with one point a second. */
const RECENT_POINTS = 60;

function failedRequests(name: string, points: readonly Rates[]): Item[] {
  const count = points.slice(-RECENT_POINTS).reduce((sum, { failed }) => sum + failed, 0);
  if (count === 0) return [];
  return [
    item(95, `The disk of ${name} failed ${formatCount(count, 'request')} in the last minute. The log says why.`),
  ];
}

function crossings({ name, kind, of, crossed }: Threshold): Item[] {
  return crossed.map((crossing) => {
    const { limitBytes = 0, valueBytes = 0, limitSeconds = 0, ageSeconds } = crossing;
    const disk = crossing.export === undefined ? '' : ` of ${crossing.export}`;
    const age = ageSeconds === undefined ? 'missing' : `${formatSpan(1000 * ageSeconds)} old`;
    const sentences = {
      dirty: `${formatSize(valueBytes)} are dirty in the bitmap ${crossing.bitmap}${disk}, more than ${formatSize(limitBytes)}`,
      'backup-age': `The last backup${disk} is ${age}, more than ${formatSpan(1000 * limitSeconds)}`,
      room: `Only ${formatSize(valueBytes)} are free for the ${of}${disk}, less than ${formatSize(limitBytes)}`,
    };
    return item(75, `${sentences[kind]} (${name}).`);
  });
}

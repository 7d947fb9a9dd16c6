import type { Command } from 'commander';
import { AgentError } from '../agent/agent-error.js';
import type { ListedExport } from '../agent/points.js';
import { formatLocalTime } from '../base/local-time.js';
import { formatSize, formatTable, print, withOfflineOptions } from './command-line.js';

type Point = ListedExport['points'][number];

const help = `
Reads the manifests only, so it is fast for any size, and works while a pull is under way. Times are local; --json has
them in UTC. CHECKED is when tidemark verify last read the image and found it good. A point is "damaged" if
tidemark verify or pull --prove found that.`;

export function addPointsCommand(program: Command): void {
  withOfflineOptions(program.command('points').description('list the restore points of a backup directory'))
    .argument('<DIR>', 'the directory that tidemark pull wrote to')
    .argument('[EXPORT]', 'list only this export (default: all)')
    .addHelpText('after', help)
    .action(async (directory: string, exportName: string | undefined, options: { json?: boolean }) => {
      const { listPoints } = await import('../agent/points.js');
      const exports = await listPoints(directory, exportName);
      print(options, { directory, exports }, (answer) => describe(answer.exports));
      refuseIfUnread(directory, exports);
    });
}

function describe(exports: readonly ListedExport[]): string {
  const rows = exports.flatMap(({ export: name, problem, points }) => [
    ...(problem === null ? [] : [[name, '', '', '', '', '', '', problem]]),
    ...points.map((point) => rowOf(name, point)),
  ]);
  const headings = ['EXPORT', 'RESTORE POINT', 'TAKEN', 'MODE', 'DISK', 'FILE', 'CHECKED', 'STATE'];
  return formatTable(headings, rows, [4, 5]);
}

function rowOf(name: string, point: Point): string[] {
  const { id, takenAt, mode, fullReason, sizeBytes, fileBytes, checkedAt } = point;
  const why = fullReason ? `${mode} (${fullReason.code})` : mode;
  const checked = checkedAt === null ? 'never' : formatLocalTime(checkedAt);
  const sizes = [formatSize(sizeBytes), formatSize(fileBytes)];
  return [name, id, formatLocalTime(takenAt), why, ...sizes, checked, sayState(point)];
}

function sayState({ committed, problem, damage, proven, measured, baseAsserted }: Point): string {
  if (damage) return `damaged: ${damage.problem} (found by ${damage.foundBy}, ${formatLocalTime(damage.foundAt)})`;
  if (problem !== null) return problem;
  if (!committed) return 'not committed: the next pull asks the server';
  if (measured) return 'manifest repaired';
  if (proven) return 'proven';
  return baseAsserted ? 'base asserted' : '';
}

function refuseIfUnread(directory: string, exports: readonly ListedExport[]): void {
  const unread = exports.filter(({ problem }) => problem !== null).length;
  if (unread === 0) return;
  const what = `the manifests of ${unread} of ${exports.length} folders in ${directory} cannot be read`;
  throw new AgentError(what, 'see the table above for the causes');
}

import type { Command } from 'commander';
import { CodedError } from '../base/coded-error.js';
import { defaultStateDirectory } from '../base/places.js';
import { formatCount } from '../base/units.js';
import type { StateReport } from '../doctor/check-state.js';
import { formatSize, formatTable, print, withOfflineOptions } from './command-line.js';

interface Options {
  readonly json?: boolean;
  readonly state?: string;
}

export function addStateCommands(program: Command): void {
  const group = program.command('state').description('check the state directory of a server');
  withOfflineOptions(
    group.command('check').description('verify the state directory of a stopped server, and list its contents'),
  )
    .option('--state <DIR>', 'the state directory (default: the one that a server uses by default)')
    .action(async (options: Options) => {
      const directory = options.state ?? defaultStateDirectory();
      // Loaded only here, because loading the store takes longer than running most other commands.
      const { checkState } = await import('../doctor/check-state.js');
      const report = await checkState(directory);
      print(options, report, describe);
      if (report.problems.length > 0) {
        throw new CodedError(
          'STORE_UNUSABLE',
          `the state in ${directory} has ${formatCount(report.problems.length, 'problem')}`,
          'move the directory away and start the server with an empty one; the next backups will be full',
        );
      }
    });
}

function describe({ formatVersion, exports, backups, problems }: StateReport): string {
  const bitmaps = exports.flatMap((stored) =>
    stored.bitmaps.map((bitmap) => [
      stored.name,
      bitmap.name,
      formatSize(bitmap.granularityBytes),
      formatSize(bitmap.dirtyBytes),
      bitmap.inconsistent ?? (bitmap.frozen ? 'frozen' : bitmap.recording ? 'recording' : 'disabled'),
    ]),
  );
  const disks = exports.map(({ name, sizeBytes, clean, activeRegions, regionBytes, markedBytes }) => [
    name,
    formatSize(sizeBytes),
    clean ? 'closed cleanly' : 'in use, or left by a crash',
    `${activeRegions} of ${formatSize(regionBytes)}`,
    formatSize(markedBytes),
  ]);
  const sessions = backups.map(({ id, bitmap, state, exports: names }) => [id, bitmap, names.join(' '), state]);
  return [
    `format ${formatVersion}`,
    formatTable(['EXPORT', 'SIZE', 'STATE', 'ACTIVE REGIONS', 'MARKED'], disks, [1, 4]),
    formatTable(['EXPORT', 'BITMAP', 'GRANULARITY', 'DIRTY', 'STATE'], bitmaps, [2, 3]),
    ...(sessions.length > 0 ? [formatTable(['BACKUP', 'BITMAP', 'EXPORTS', 'STATE'], sessions)] : []),
    problems.length === 0 ? 'no problems' : problems.map((problem) => `PROBLEM: ${problem}`).join('\n'),
  ].join('\n\n');
}

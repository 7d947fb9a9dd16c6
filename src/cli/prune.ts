import { type Command, InvalidArgumentError, Option } from 'commander';
import { AgentError } from '../agent/agent-error.js';
import type { PreviewedExport } from '../agent/preview-prune.js';
import type { PrunedExport } from '../agent/prune.js';
import { type KeepCount, type RetentionPolicy, retentionPeriods } from '../agent/retention/policy.js';
import { CodedError } from '../base/coded-error.js';
import { formatLocalTime } from '../base/local-time.js';
import { abortOnSignals, formatSize, formatTable, print, withOfflineOptions } from './command-line.js';
import { Progress } from './progress.js';

interface Options {
  readonly keep?: KeepCount;
  readonly keepLast?: KeepCount;
  readonly keepHourly?: KeepCount;
  readonly keepDaily?: KeepCount;
  readonly keepWeekly?: KeepCount;
  readonly keepMonthly?: KeepCount;
  readonly keepYearly?: KeepCount;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

const help = `
The rules are those of restic. --keep-daily 7 keeps the newest restore point of each of the last 7 days that have one;
weeks are those of ISO 8601, and all times are local. A restore point stays if any rule keeps it, and so does the newest
one of each export. N can be "unlimited". Several exports of one backup are kept or dropped together. Damaged restore
points count for no rule, so they push out no good one.

If the image below a restore point is dropped, the restore point is rewritten with the data that it needs, one at a
time: that needs space for its image. All restore points to keep are there even if prune is interrupted. An export is
left unchanged if any image that it needs is damaged.

  tidemark prune /backup --keep-daily 7 --keep-weekly 5 --keep-monthly 12 --dry-run`;

export function addPruneCommand(program: Command): void {
  const command = withOfflineOptions(
    program.command('prune').description('remove old restore points, and merge their data into those that need it'),
  )
    .argument('<DIR>', 'the directory that tidemark pull wrote to')
    .addOption(new Option('--keep <N>', 'the same as --keep-last').argParser(countArgument).conflicts('keepLast'));
  for (const period of retentionPeriods) command.option(`--keep-${period} <N>`, descriptions[period], countArgument);
  command
    .option('--dry-run', 'show what would be kept, dropped and merged, and change nothing')
    .addHelpText('after', help)
    .action(async (directory: string, options: Options) => {
      const policy = policyOf(options);
      await (options.dryRun ? showPreview(directory, policy, options) : runPrune(directory, policy, options));
    });
}

const descriptions: Record<(typeof retentionPeriods)[number], string> = {
  last: 'keep the N newest restore points of each export',
  hourly: 'keep the newest one of each of the last N hours that have one',
  daily: 'the same for days',
  weekly: 'the same for weeks',
  monthly: 'the same for months',
  yearly: 'the same for years',
};

/** @throws CodedError if nothing is to be kept */
function policyOf(options: Options): RetentionPolicy {
  const { keep, keepLast = keep, keepHourly, keepDaily, keepWeekly, keepMonthly, keepYearly } = options;
  const given = Object.entries({
    ...{ last: keepLast, hourly: keepHourly, daily: keepDaily },
    ...{ weekly: keepWeekly, monthly: keepMonthly, yearly: keepYearly },
  }).filter(([, count]) => count !== undefined);
  if (given.length > 0) return Object.fromEntries(given);
  const hint = 'give --keep-last, --keep-hourly, --keep-daily, --keep-weekly, --keep-monthly or --keep-yearly';
  throw new CodedError('USAGE_INVALID', 'prune has to know what to keep', hint);
}

async function runPrune(directory: string, policy: RetentionPolicy, options: Options): Promise<void> {
  const signal = abortOnSignals();
  const { prune } = await import('../agent/prune.js');
  const progress = new Progress(process.stderr);
  const onProgress = (...args: [string, number, number]) => progress.update(...args);
  const exports = await prune(directory, { policy, signal, onProgress }).finally(() => progress.clear());
  const { keep } = options;
  const what = { directory, ...(keep !== undefined && { keep }), policy };
  print(options, { ...what, exports }, (answer) => describeResults(answer.exports).join('\n'));
  refuseIfLeft(exports);
}

async function showPreview(directory: string, policy: RetentionPolicy, options: Options): Promise<void> {
  const { previewPrune } = await import('../agent/preview-prune.js');
  const exports = await previewPrune(directory, policy);
  print(options, { directory, policy, dryRun: true, exports }, (answer) => describePreview(answer.exports));
  refuseIfLeft(exports);
}

function describePreview(exports: readonly PreviewedExport[]): string {
  const rows = exports.flatMap(({ export: name, points }) =>
    points.map(({ id, takenAt, keep, reasons }) => [
      ...[name, id, formatLocalTime(takenAt), keep ? 'keep' : 'drop', reasons.join(', ')],
    ]),
  );
  const notes = exports.flatMap(({ export: name, problem, merges }) => [
    ...merges.map(({ id, onto, estimatedBytes }) => {
      const how = onto === null ? 'becomes a full image' : `takes in what lies between it and ${onto}`;
      return `${name}: ${id} ${how}: at most ${formatSize(estimatedBytes)}`;
    }),
    ...(problem === null ? [] : [`${name}: left unchanged: ${problem}`]),
  ]);
  return [formatTable(['EXPORT', 'RESTORE POINT', 'TAKEN', 'DRY RUN', 'WHY'], rows), ...notes].join('\n');
}

function describeResults(exports: readonly PrunedExport[]): string[] {
  const dropped = new Set(exports.flatMap((one) => one.dropped));
  const notes = exports.flatMap(({ export: name, kept, problem }) => {
    const alone = kept.filter((id) => dropped.has(id)).length;
    if (problem === null || alone === 0) return [];
    return [`${name}: ${alone} of them no longer exist for other disks; the next prune that can drops them here too`];
  });
  return [...exports.map(describe), ...notes];
}

function describe({ export: name, kept, dropped, freedBytes, problem }: PrunedExport): string {
  if (problem !== null && dropped.length === 0) return `${name}: left unchanged: ${problem}`;
  const change = freedBytes < 0 ? `${formatSize(-freedBytes)} more` : `${formatSize(freedBytes)} freed`;
  const rest = problem === null ? '' : `; not finished: ${problem}`;
  return `${name}: ${kept.length} kept, ${dropped.length} dropped, ${change}${rest}`;
}

function refuseIfLeft(exports: readonly (PrunedExport | PreviewedExport)[]): void {
  const left = exports.filter(({ problem }) => problem !== null);
  if (left.length === 0) return;
  throw new AgentError(
    `not pruned: ${left.map((one) => one.export).join(', ')}`,
    'see above for the causes; tidemark verify records what is damaged, so that the next prune leaves it alone; tidemark pull --full starts a new chain',
  );
}

/** Argument parser for commander: a number of restore points. */
function countArgument(text: string): KeepCount {
  if (text === 'unlimited') return text;
  const count = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(count) || count < 1)
    throw new InvalidArgumentError('Expected a whole number above 0, or unlimited.');
  return count;
}

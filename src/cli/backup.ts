import { type Command, Option } from 'commander';
import type { Backup, BackupPart, BegunBackup } from '../api/backup.js';
import { onScratchFullChoices } from '../api/values.js';
import {
  type CommonOptions,
  controlClient,
  formatSize,
  formatTable,
  print,
  secondsArgument,
  sizeArgument,
  withCommonOptions,
} from './command-line.js';

interface BeginOptions extends CommonOptions {
  readonly bitmap: string;
  readonly since?: string;
  readonly full?: boolean;
  readonly ttl?: number;
  readonly scratchLimit?: number;
  readonly onScratchFull?: string;
}

const help = `
A backup freezes a bitmap and makes a view of each export as it is at this instant. A view is an NBD export of its own;
it does not change while clients go on writing. Read the dirty ranges from the view (or everything, if the backup is
full), then commit: the next backup counts from this one. If you abort, or the lease runs out, nothing is lost: the
bitmap again holds all changes since the last commit.

$ tidemark backup begin disk --bitmap nightly
$ nbdinfo --map=qemu:dirty-bitmap:nightly URI        (shows what changed; begin prints the URI)
$ qemu-img convert -O qcow2 URI full.qcow2
$ tidemark backup commit ID`;

export function addBackupCommands(program: Command): void {
  const group = program.command('backup').description('point-in-time views for backups');
  group.addHelpText('after', help);
  addBegin(group);
  addQueries(group);
  addLease(group);
  addEndings(group);
}

function addBegin(group: Command): void {
  withCommonOptions(group.command('begin <EXPORT...>').description('make views of exports, all at the same instant'))
    .requiredOption('--bitmap <NAME>', 'the bitmap to use on each export; created where it does not exist')
    .option('--since <BACKUP-ID>', 'the backup to build on; refused if the bitmap does not count from it')
    .option('--full', 'make a full backup, whatever the bitmap says')
    .option(
      '--ttl <TIME>',
      'abort after this long without a read from the views, such as 90s, 30m or 2h (default: 2h)',
      secondsArgument,
    )
    .option('--scratch-limit <SIZE>', 'the most old data to keep for the views', sizeArgument)
    .addOption(
      new Option(
        '--on-scratch-full <WHAT>',
        'what to do when there is no space for old data: abort the backup, or fail the write',
      )
        .choices(onScratchFullChoices)
        .default(undefined, 'fail-view'),
    )
    .action(async (exports: string[], options: BeginOptions) => {
      const { bitmap, since, full, ttl, scratchLimit, onScratchFull } = options;
      const wanted = { exports, bitmap, since, full, ttlSeconds: ttl, scratchLimitBytes: scratchLimit, onScratchFull };
      print(options, await controlClient(options).post<BegunBackup>(['backups'], wanted), sayBegun);
    });
}

function addQueries(group: Command): void {
  withCommonOptions(group.command('list').description('list active backups and those that ended recently')).action(
    async (options: CommonOptions) => {
      const answer = await controlClient(options).get<{ backups: Backup[] }>('backups');
      print(options, answer, ({ backups }) => backupTable(backups));
    },
  );

  withCommonOptions(group.command('show <ID>').description('show one backup')).action(
    async (id: string, options: CommonOptions) => {
      print(options, await controlClient(options).get<Backup>('backups', id), describe);
    },
  );
}

function addLease(group: Command): void {
  withCommonOptions(group.command('renew <ID>').description('extend the lease; reading a view also extends it'))
    .option('--ttl <TIME>', 'length of the lease, from now and from each later read', secondsArgument)
    .action(async (id: string, options: CommonOptions & { ttl?: number }) => {
      const answer = await controlClient(options).post<Backup>(['backups', id, 'renew'], {
        ttlSeconds: options.ttl,
      });
      print(options, answer, ({ expiresAt }) => `${id} is held until ${expiresAt}`);
    });

  withCommonOptions(
    group
      .command('release <ID> <EXPORT> <OFFSET> <LENGTH>')
      .description('free the scratch space of a range that you have read; reading it again is an error'),
  ).action(async (id: string, exportName: string, offset: string, length: string, options: CommonOptions) => {
    const range = { export: exportName, offset: sizeArgument(offset), length: sizeArgument(length) };
    const answer = await controlClient(options).post<Backup>(['backups', id, 'release'], range);
    print(options, answer, ({ scratch }) => `${id} keeps ${formatSize(scratch.usedBytes)} of old data`);
  });
}

function addEndings(group: Command): void {
  const endings = {
    commit: 'finish a backup that has been read; the next backup counts from it',
    abort: 'give up a backup; the bitmaps again hold all changes since the last commit',
  };
  for (const [verb, description] of Object.entries(endings)) {
    withCommonOptions(group.command(`${verb} <ID>`).description(description)).action(
      async (id: string, options: CommonOptions) => {
        const answer = await controlClient(options).post<Backup>(['backups', id, verb]);
        print(options, answer, ({ state }) => `${id} is ${state}`);
      },
    );
  }
}

function sayBegun(backup: BegunBackup): string {
  return [
    `began ${backup.id}, held until ${backup.expiresAt}`,
    ...backup.exports.flatMap(sayView),
    `tidemark backup commit ${backup.id}   after reading the views`,
  ].join('\n');
}

function sayPart({ export: name, mode, base, fullReason, estimatedReadBytes }: BackupPart): string {
  const from = base === null ? '' : ` since ${base}`;
  const why = fullReason ? `, because ${fullReason.detail}` : '';
  return `${name}: ${mode}${from}${why}; about ${formatSize(estimatedReadBytes)} to read`;
}

function sayView(part: BackupPart): string[] {
  return [sayPart(part), `  ${part.uri}`, `  ${part.context}`];
}

/** A row for each export of a backup. */
function backupTable(backups: readonly Backup[]): string {
  const rows = backups.flatMap((backup) =>
    backup.exports.map((part, index) => {
      const ofPart = [part.export, sayMode(part)];
      if (index > 0) return ['', '', ...ofPart, '', ''];
      return [backup.id, backup.bitmap, ...ofPart, sayState(backup), formatSize(backup.scratch.usedBytes)];
    }),
  );
  return formatTable(['ID', 'BITMAP', 'EXPORT', 'MODE', 'STATE', 'SCRATCH'], rows, [5]);
}

/** `active`, `aborted on request` or `aborted: scratch-full` */
function sayState({ state, endReason }: Backup): string {
  if (endReason === undefined) return state;
  return endReason === 'asked' ? `${state} on request` : `${state}: ${endReason}`;
}

/** `full (no-base)` */
function sayMode({ mode, fullReason }: BackupPart): string {
  return fullReason ? `${mode} (${fullReason.code})` : mode;
}

function describe(backup: Backup): string {
  const { id, bitmap, state, startedAt, expiresAt, endedAt, endDetail, ttlSeconds, scratch } = backup;
  const limit = scratch.limitBytes === undefined ? '' : ` of ${formatSize(scratch.limitBytes)}`;
  return [
    `id        ${id}`,
    `bitmap    ${bitmap}`,
    `state     ${sayState(backup)}${endDetail === undefined ? '' : ` (${endDetail})`}`,
    `started   ${startedAt}`,
    ...(expiresAt === undefined ? [] : [`expires   ${expiresAt}, ${ttlSeconds} s after the last read`]),
    ...(endedAt === undefined ? [] : [`ended     ${endedAt}`]),
    `scratch   ${formatSize(scratch.usedBytes)}${limit}`,
    ...(state === 'active' ? backup.exports.flatMap(sayView) : backup.exports.map(sayPart)),
  ].join('\n');
}

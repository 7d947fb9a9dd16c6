import { type Command, InvalidArgumentError } from 'commander';
import type { BackupService } from '../agent/backup-service.js';
import type { PulledImage, PullRequest, PullResult } from '../agent/pull.js';
import { DIRTY_BITMAP_PREFIX } from '../base/metadata-contexts.js';
import { printable } from '../base/printable.js';
import {
  abortOnSignals,
  type CommonOptions,
  controlClient,
  formatSize,
  print,
  sizeArgument,
  withCommonOptions,
} from './command-line.js';
import { tlsFilesOf } from './credential-files.js';
import { HttpBackupService } from './http-backup-service.js';
import { writeLine } from './output.js';
import { Progress } from './progress.js';

interface PullOptions extends CommonOptions {
  readonly bitmap?: string;
  readonly to: string;
  readonly full?: boolean;
  readonly bwlimit?: number;
  readonly connections: number;
  readonly overNbd?: boolean;
  readonly uri?: string;
  readonly context?: string;
  readonly since?: string;
  readonly prove?: boolean;
}

const DEFAULT_CONNECTIONS = 4;

const help = `
Writes DIR/EXPORT/ID.qcow2 for each export, all of the same instant. The first image has everything. A later one has
what changed since the newest image there, which becomes its backing file. The new images become restore points only
when all of them are complete, durable and committed. If the server requires a full backup, pull makes one and starts a
new chain.

Use --uri to pull an export of another NBD server; nothing is committed there. Such a server cannot tell which backup
its dirty bitmap counts from, so every pull is full unless you give --since ID. With it you assert that the bitmap of
--context counts from ID or earlier. ID must be the newest image, pulled from the same URI with the same context;
otherwise the pull is full.

  tidemark pull vm1 vm2 --bitmap nightly --to /backup
  tidemark pull vm3 --uri nbd://host/vm3 --context qemu:dirty-bitmap:b0 --to /backup
  tidemark pull vm3 --uri nbd://host/vm3 --context qemu:dirty-bitmap:b0 --since ID --to /backup`;

export function addPullCommand(program: Command): void {
  withCommonOptions(program.command('pull <EXPORT...>').description('back up what changed to chains of qcow2 images'))
    .option('--bitmap <NAME>', 'the bitmap to use on each export; created where it does not exist')
    .requiredOption('--to <DIR>', 'the directory to write the backups to')
    .option('--full', 'read everything, and start a new chain')
    .option('--bwlimit <SIZE>', 'read at most this much per second, such as 50M', rateArgument)
    .option(
      '--connections <N>',
      'number of connections to each export, 1 to 16',
      connectionsArgument,
      DEFAULT_CONNECTIONS,
    )
    .option('--over-nbd', 'read everything over NBD, even if the disk is on this machine')
    .option('--prove', 'afterwards read the whole disk and compare it with the chain of images')
    .option('--uri <NBD-URI>', 'read this export of any NBD server; EXPORT then only names the folder')
    .option('--context <NAME>', 'with --uri: the dirty bitmap to read changes from, qemu:dirty-bitmap:NAME')
    .option(
      '--since <ID>',
      'with --context: the newest image, which the bitmap counts from; tidemark cannot check this',
    )
    .addHelpText('after', help)
    .action(async (exports: string[], options: PullOptions, command: Command) => {
      checkUsage(exports, options, command);
      print(options, await runPull(exports, options), describe);
    });
}

function checkUsage(exports: readonly string[], options: PullOptions, command: Command): void {
  const { bitmap, uri, context, since, full } = options;
  const refuse = (why: string) => command.error(`error: ${why}`);
  if (uri === undefined && bitmap === undefined)
    refuse('give --bitmap NAME for a tidemark server, or --uri for another NBD server');
  if (uri === undefined && context !== undefined) refuse('--context needs --uri');
  if (uri !== undefined && bitmap !== undefined)
    refuse('--bitmap and --uri exclude each other: --bitmap is for a tidemark server, --uri for another');
  if (since !== undefined && context === undefined) refuse('--since needs --uri and --context');
  if (since !== undefined && full) refuse('--since and --full exclude each other: --since asks for an increment');
  if (uri !== undefined && exports.length > 1) refuse('--uri takes one EXPORT');
  if (context !== undefined && !context.startsWith(DIRTY_BITMAP_PREFIX)) {
    // Bit 0 of the status is read as "changed". In other contexts it means something else: in base:allocation, a hole.
    refuse(`--context ${printable(context)} is not a dirty bitmap: give one such as ${DIRTY_BITMAP_PREFIX}NAME`);
  }
}

async function runPull(exports: readonly string[], options: PullOptions): Promise<PullResult> {
  // Before anything else is loaded, so that an early signal cannot leave anything behind.
  const signal = abortOnSignals();
  const { pull } = await import('../agent/pull.js');
  const progress = new Progress(process.stderr);
  const notes = options.json ? process.stderr : process.stdout;
  const request: PullRequest = {
    exports,
    bitmap: options.bitmap ?? '',
    directory: options.to,
    full: options.full ?? false,
    connections: options.connections,
    overNbd: options.overNbd ?? false,
    prove: options.prove ?? false,
    tls: tlsFilesOf(options),
    bytesPerSecond: options.bwlimit,
    signal,
    observer: {
      note(exportName, text) {
        progress.clear();
        writeLine(notes, `${exportName}: ${text}`);
      },
      progress: (exportName, done, total) => progress.update(exportName, done, total),
    },
  };
  try {
    return await pull(request, await serviceFor(options, signal));
  } finally {
    progress.clear();
  }
}

async function serviceFor(options: PullOptions, signal: AbortSignal): Promise<BackupService> {
  const { uri, context, since } = options;
  if (uri === undefined) return new HttpBackupService(controlClient(options), signal);
  const { UriBackupService } = await import('../agent/uri-backup-service.js');
  return new UriBackupService({ uri, context, since });
}

function describe({ images }: PullResult): string {
  return images.map(describeImage).join('\n');
}

function describeImage(image: PulledImage): string {
  const { export: name, mode, readBytes, durationSeconds, path, fileBytes, proven, baseAsserted } = image;
  const ground = proven ? ', proven' : baseAsserted ? ', base asserted' : '';
  const read = `${formatSize(readBytes)} read in ${durationSeconds.toFixed(1)} s`;
  return `${name}: ${mode}, ${read}, ${path} (${formatSize(fileBytes)})${ground}`;
}

/** Argument parser for commander: bytes per second. */
function rateArgument(text: string): number {
  const bytes = sizeArgument(text);
  if (bytes === 0) throw new InvalidArgumentError('Expected more than 0.');
  return bytes;
}

/** Argument parser for commander: a number of connections. */
function connectionsArgument(text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1 || count > 16) throw new InvalidArgumentError('Expected 1 to 16.');
  return count;
}

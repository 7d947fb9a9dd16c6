import { type Command, InvalidArgumentError } from 'commander';
import type { BackupService } from '../agent/backup-service.js';
import type { PulledImage, PullRequest, PullResult } from '../agent/pull.js';
import { DIRTY_BITMAP_PREFIX } from '../base/metadata-contexts.js';
import { printable } from '../base/printable.js';
import {
  type CommonOptions,
  controlClient,
  formatSize,
  print,
  sizeArgument,
  withCommonOptions,
} from './command-line.js';
import { HttpBackupService } from './http-backup-service.js';
import { writeLine } from './output.js';
import { Progress } from './progress.js';
import { abortOnSignals } from './stop-signals.js';

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
Writes DIR/EXPORT/ID.qcow2 for each export, all of the same instant: everything the first time, later what changed since
the newest image there, which becomes its backing file. Nothing counts before all is complete, durable and committed.
When the server says that a backup has to be full, it is, and a new chain begins.

An export of another server is pulled with --uri; nothing is committed there. Such a server cannot say which backup its
dirty bitmap counts from, so every pull is full unless you say so: --since ID is your word that --context counts from ID
or from earlier. ID has to be the newest image, pulled from the same URI by the same context, or the pull is full.

  tidemark pull vm1 vm2 --bitmap nightly --to /backup
  tidemark pull vm3 --uri nbd://host/vm3 --context qemu:dirty-bitmap:b0 --to /backup
  tidemark pull vm3 --uri nbd://host/vm3 --context qemu:dirty-bitmap:b0 --since ID --to /backup`;

export function addPullCommand(program: Command): void {
  withCommonOptions(
    program.command('pull <EXPORT...>').description('back up what changed, into chains of qcow2 images'),
  )
    .option('--bitmap <NAME>', 'the bitmap of each export; made where it is missing')
    .requiredOption('--to <DIR>', 'the directory of the backups')
    .option('--full', 'read everything, and begin a new chain')
    .option('--bwlimit <SIZE>', 'read at most so much a second: 50M', rateArgument)
    .option('--connections <N>', 'connections to the server', connectionsArgument, DEFAULT_CONNECTIONS)
    .option('--over-nbd', 'read everything over NBD, even where the disk is at hand')
    .option('--prove', 'then read the whole disk, and compare it with the chain of images')
    .option('--uri <NBD-URI>', 'read this export of any NBD server; EXPORT is what its folder is called')
    .option('--context <NAME>', 'with --uri: the dirty bitmap that says what changed, qemu:dirty-bitmap:NAME')
    .option('--since <ID>', 'with --context: the newest image, which the context counts from; nobody can check that')
    .addHelpText('after', help)
    .action(async (exports: string[], options: PullOptions, command: Command) => {
      checkUsage(exports, options, command);
      print(options, await runPull(exports, options), describe);
    });
}

function checkUsage(exports: readonly string[], options: PullOptions, command: Command): void {
  const { bitmap, uri, context, since, full } = options;
  const refuse = (why: string) => command.error(`error: ${why}`);
  if (uri === undefined && bitmap === undefined) refuse('--bitmap says which bitmap, or --uri which other server');
  if (uri === undefined && context !== undefined) refuse('--context belongs to --uri');
  if (uri !== undefined && bitmap !== undefined) refuse('--bitmap is of a tidemark server, --uri of another');
  if (since !== undefined && context === undefined) refuse('--since belongs to --uri and --context');
  if (since !== undefined && full) refuse('--since asks for an increment, --full for everything');
  if (uri !== undefined && exports.length > 1) refuse('--uri is one export');
  if (context !== undefined && !context.startsWith(DIRTY_BITMAP_PREFIX)) {
    // Its first status bit would be read as "changed", and says something else: of base:allocation, that there is a hole.
    refuse(`--context ${printable(context)} is not a dirty bitmap: give one such as ${DIRTY_BITMAP_PREFIX}NAME`);
  }
}

async function runPull(exports: readonly string[], options: PullOptions): Promise<PullResult> {
  // Before anything else is loaded, so that no moment is left in which a signal leaves something behind.
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

/** For commander: bytes a second. */
function rateArgument(text: string): number {
  const bytes = sizeArgument(text);
  if (bytes === 0) throw new InvalidArgumentError('Expected more than 0.');
  return bytes;
}

/** For commander: a number of connections. */
function connectionsArgument(text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1 || count > 16) throw new InvalidArgumentError('Expected 1 to 16.');
  return count;
}

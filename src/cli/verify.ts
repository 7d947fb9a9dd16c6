import { type Command, InvalidArgumentError } from 'commander';
import { AgentError } from '../agent/agent-error.js';
import type { VerifyResult } from '../agent/verify.js';
import { formatLocalTime } from '../base/local-time.js';
import { abortOnSignals, formatSize, formatTable, print, withOfflineOptions } from './command-line.js';
import { Progress } from './progress.js';

type Point = VerifyResult['exports'][number]['points'][number];

const help = `
Reads every image, checks its checksum, its tables and its backing file, and runs qemu-img check if qemu-img is
installed. Lists which restore points are good; the exit code is 1 if any is not. Damaged images are recorded in the
manifests, so that the next pull starts a new chain; a later check that finds them good removes the record. When an
image was found good is recorded too. No image is changed.

--sample 5% reads a twentieth of each export: the images that were read the longest time ago. So 20 runs read
everything. Of the images that the next pull builds on, at least the tables are checked each time. Images that are known
to be damaged are not read.`;

export function addVerifyCommand(program: Command): void {
  withOfflineOptions(
    program
      .command('verify')
      .description('check all images of a backup directory, and list which restore points are good'),
  )
    .argument('<DIR>', 'the directory that tidemark pull wrote to')
    .option('--sample <PERCENT>', 'read only this share of each export, such as 5%', percentArgument)
    .addHelpText('after', help)
    .action(async (directory: string, options: { sample?: number; json?: boolean }) => {
      const signal = abortOnSignals();
      const { verify } = await import('../agent/verify.js');
      const progress = new Progress(process.stderr);
      const onProgress = (...args: [string, number, number]) => progress.update(...args);
      const { sample: samplePercent } = options;
      const result = await verify(directory, { samplePercent, signal, onProgress }).finally(() => progress.clear());
      print(options, result, describe);
      refuseIfDamaged(result);
    });
}

function describe({ exports, checkedByQemu, samplePercent }: VerifyResult): string {
  const rows = exports.flatMap(({ export: name, problem, points }) => [
    ...(problem === null ? [] : [[name, '', '', '', problem]]),
    ...points.map((point) => [name, point.id, point.mode, formatSize(point.fileBytes), sayState(point)]),
  ]);
  const table = formatTable(['EXPORT', 'RESTORE POINT', 'MODE', 'FILE', 'STATE'], rows, [3]);
  const notes = exports.flatMap(({ export: name, notRecorded }) =>
    notRecorded === null ? [] : [`${name}: the result could not be recorded in the manifest: ${notRecorded}`],
  );
  if (samplePercent !== null) notes.push(...exports.map(({ export: name, points }) => `${name}: ${sayRead(points)}`));
  if (!checkedByQemu) notes.push('qemu-img is not installed, so qemu-img check was skipped');
  return [table, ...notes.map((note) => `\n${note}`)].join('\n');
}

/** `read 3 of 60 images, 1.1 GiB of 21.4 GiB` */
function sayRead(points: readonly Point[]): string {
  const read = points.filter((point) => point.read);
  const sizeOf = (some: readonly Point[]) => formatSize(some.reduce((sum, { fileBytes }) => sum + fileBytes, 0));
  return `read ${read.length} of ${points.length} images, ${sizeOf(read)} of ${sizeOf(points)}`;
}

function sayState({ problem, read, checkedAt, proven, measured, baseAsserted }: Point): string {
  if (problem !== null) return problem;
  if (!read) return checkedAt === null ? 'never checked' : `checked ${formatLocalTime(checkedAt)}`;
  if (measured) return 'good since its manifest was repaired';
  if (proven) return 'good, proven';
  return baseAsserted ? 'good, base asserted' : 'good';
}

function refuseIfDamaged({ directory, exports }: VerifyResult): void {
  const points = exports.flatMap((checked) => checked.points);
  const damaged = points.filter(({ problem }) => problem !== null).length;
  const unread = exports.filter(({ problem }) => problem !== null).length;
  if (damaged > 0) {
    throw new AgentError(
      `${damaged} of ${points.length} restore points in ${directory} ${damaged === 1 ? 'is' : 'are'} damaged`,
      'take a backup now: tidemark pull starts a new chain if the newest one is damaged, tidemark pull --full always does',
    );
  }
  if (unread === 0) return;
  const what = `${unread} of ${exports.length} folders in ${directory} could not be checked`;
  throw new AgentError(what, 'see the table above for the causes');
}

/** Argument parser for commander: a share in percent. */
function percentArgument(text: string): number {
  const percent = Number(/^(\d{1,3})%$/.exec(text)?.[1]);
  if (!(percent >= 1 && percent <= 100)) throw new InvalidArgumentError('Expected 1% to 100%.');
  return percent;
}

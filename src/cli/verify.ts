import type { Command } from 'commander';
import { AgentError } from '../agent/agent-error.js';
import type { VerifyResult } from '../agent/verify.js';
import { abortOnSignals, formatSize, formatTable, print, withOfflineOptions } from './command-line.js';
import { Progress } from './progress.js';

type Point = VerifyResult['exports'][number]['points'][number];

const help = `
Reads every image, checks its checksum, its tables and its backing file, and runs qemu-img check if qemu-img is
installed. Lists which restore points are good; the exit code is 1 if any is not. Damaged images are recorded in the
manifests, so that the next pull starts a new chain; a later check that finds them good removes the record. No image is
changed.`;

export function addVerifyCommand(program: Command): void {
  withOfflineOptions(
    program
      .command('verify')
      .description('check all images of a backup directory, and list which restore points are good'),
  )
    .argument('<DIR>', 'the directory that tidemark pull wrote to')
    .addHelpText('after', help)
    .action(async (directory: string, options: { json?: boolean }) => {
      const signal = abortOnSignals();
      const { verify } = await import('../agent/verify.js');
      const progress = new Progress(process.stderr);
      const result = await verify(directory, { signal, onProgress: (...args) => progress.update(...args) }).finally(
        () => progress.clear(),
      );
      print(options, result, describe);
      refuseIfDamaged(result);
    });
}

function describe({ exports, checkedByQemu }: VerifyResult): string {
  const rows = exports.flatMap(({ export: name, problem, points }) => [
    ...(problem === null ? [] : [[name, '', '', '', problem]]),
    ...points.map((point) => [name, point.id, point.mode, formatSize(point.fileBytes), sayState(point)]),
  ]);
  const table = formatTable(['EXPORT', 'RESTORE POINT', 'MODE', 'FILE', 'STATE'], rows, [3]);
  const notes = exports.flatMap(({ export: name, notRecorded }) =>
    notRecorded === null ? [] : [`${name}: the result could not be recorded in the manifest: ${notRecorded}`],
  );
  if (!checkedByQemu) notes.push('qemu-img is not installed, so qemu-img check was skipped');
  return [table, ...notes.map((note) => `\n${note}`)].join('\n');
}

function sayState({ problem, proven, measured, baseAsserted }: Point): string {
  if (problem !== null) return problem;
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

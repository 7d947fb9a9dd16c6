import type { Command } from 'commander';
import { AgentError } from '../agent/agent-error.js';
import type { VerifyResult } from '../agent/verify.js';
import { formatSize, formatTable, print, withOfflineOptions } from './command-line.js';
import { Progress } from './progress.js';
import { abortOnSignals } from './stop-signals.js';

type Point = VerifyResult['exports'][number]['points'][number];

const help = `
Reads every image: its checksum, its tables, what it lies on, and qemu-img check where there is a qemu-img. Says which
restore points are good. The exit code is 1 when one is not. The manifests note which images are damaged, so that the
next pull begins a new chain; a later check that finds them good takes that back. No image is changed.`;

export function addVerifyCommand(program: Command): void {
  withOfflineOptions(
    program
      .command('verify')
      .description('read all images of a backup directory, and tell which restore points are good'),
  )
    .argument('<DIR>', 'what tidemark pull wrote to')
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
    notRecorded === null ? [] : [`${name}: what was found could not be noted in the manifest: ${notRecorded}`],
  );
  if (!checkedByQemu) notes.push('qemu-img is not installed: its check was left out');
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
      'take a backup now: the next tidemark pull begins a new chain by itself, and tidemark pull --full in any case',
    );
  }
  if (unread === 0) return;
  const what = `${unread} of ${exports.length} folders in ${directory} could not be checked`;
  throw new AgentError(what, 'see above for the cause and the remedy');
}

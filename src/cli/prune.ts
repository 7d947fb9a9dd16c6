import { type Command, InvalidArgumentError } from 'commander';
import { AgentError } from '../agent/agent-error.js';
import type { PrunedExport } from '../agent/prune.js';
import { formatSize, print, withOfflineOptions } from './command-line.js';
import { Progress } from './progress.js';
import { abortOnSignals } from './stop-signals.js';

interface Options {
  readonly keep: number;
  readonly json?: boolean;
}

const help = `
Keeps the N newest restore points of each export. The oldest of them is made to stand alone: its image is written anew,
with what the images below it have, which takes room for one full image. Interrupted at any moment, all N are there.
An export is left as it is when an image that stays, or that the oldest of these lies on, is not good.`;

export function addPruneCommand(program: Command): void {
  withOfflineOptions(
    program.command('prune').description('drop old restore points, and merge their images into the oldest that stays'),
  )
    .argument('<DIR>', 'what tidemark pull wrote to')
    .requiredOption('--keep <N>', 'restore points that stay, of each export', keepArgument)
    .addHelpText('after', help)
    .action(async (directory: string, options: Options) => {
      const signal = abortOnSignals();
      const { prune } = await import('../agent/prune.js');
      const progress = new Progress(process.stderr);
      const { keep } = options;
      const onProgress = (...args: [string, number, number]) => progress.update(...args);
      const exports = await prune(directory, { keep, signal, onProgress }).finally(() => progress.clear());
      print(options, { directory, keep, exports }, (answer) => answer.exports.map(describe).join('\n'));
      refuseIfLeft(exports);
    });
}

function describe({ export: name, kept, dropped, freedBytes, problem }: PrunedExport): string {
  if (problem !== null) return `${name}: left as it is, ${problem}`;
  const change = freedBytes < 0 ? `${formatSize(-freedBytes)} more` : `${formatSize(freedBytes)} freed`;
  return `${name}: ${kept.length} kept, ${dropped.length} dropped, ${change}`;
}

function refuseIfLeft(exports: readonly PrunedExport[]): void {
  const left = exports.filter(({ problem }) => problem !== null);
  if (left.length === 0) return;
  throw new AgentError(
    `not pruned: ${left.map((one) => one.export).join(', ')}`,
    'see above; a chain that is not good ends with tidemark pull --full, and is dropped once enough restore points are newer',
  );
}

/** For commander: a number of restore points. */
function keepArgument(text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1) throw new InvalidArgumentError('Expected a whole number above 0.');
  return count;
}

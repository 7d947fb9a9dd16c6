import { type Command, InvalidArgumentError } from 'commander';
import { AgentError } from '../agent/agent-error.js';
import type { PrunedExport } from '../agent/prune.js';
import { abortOnSignals, formatSize, print, withOfflineOptions } from './command-line.js';
import { Progress } from './progress.js';

interface Options {
  readonly keep: number;
  readonly json?: boolean;
}

const help = `
Keeps the N newest restore points of each export. The oldest of these becomes a full image: it is rewritten with the
data of the images below it, which needs space for one full image. All N restore points are there even if prune is
interrupted. An export is left unchanged if any image that it needs is damaged.`;

export function addPruneCommand(program: Command): void {
  withOfflineOptions(
    program
      .command('prune')
      .description('remove old restore points, and merge their data into the oldest one that is kept'),
  )
    .argument('<DIR>', 'the directory that tidemark pull wrote to')
    .requiredOption('--keep <N>', 'how many restore points of each export to keep', keepArgument)
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
  if (problem !== null) return `${name}: left unchanged: ${problem}`;
  const change = freedBytes < 0 ? `${formatSize(-freedBytes)} more` : `${formatSize(freedBytes)} freed`;
  return `${name}: ${kept.length} kept, ${dropped.length} dropped, ${change}`;
}

function refuseIfLeft(exports: readonly PrunedExport[]): void {
  const left = exports.filter(({ problem }) => problem !== null);
  if (left.length === 0) return;
  throw new AgentError(
    `not pruned: ${left.map((one) => one.export).join(', ')}`,
    'see above for the causes; tidemark pull --full starts a new chain, and prune removes the damaged one when N newer restore points exist',
  );
}

/** Argument parser for commander: a number of restore points. */
function keepArgument(text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1) throw new InvalidArgumentError('Expected a whole number above 0.');
  return count;
}

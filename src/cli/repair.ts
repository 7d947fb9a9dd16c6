import type { Command } from 'commander';
import { AgentError } from '../agent/agent-error.js';
import type { RepairedExport } from '../agent/repair.js';
import { abortOnSignals, print, withOfflineOptions } from './command-line.js';

interface Options {
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

const help = `
Each image carries a copy of its own manifest entry. A manifest that is lost or damaged is rebuilt from these entries; a
good one that lacks images is completed. Every image that is added is read in full and compared with the checksum that it
carries, and its chain must be complete. Images are never changed. A damaged manifest is kept as
manifest.json.damaged-TIME. The exit code is 1 if an image is damaged or was left out.

  tidemark repair /backup --dry-run
  tidemark repair /backup vm1`;

export function addRepairCommand(program: Command): void {
  withOfflineOptions(program.command('repair').description('rebuild lost or damaged manifests from the images'))
    .argument('<DIR>', 'the directory that tidemark pull wrote to')
    .argument('[EXPORT]', 'repair only this export (default: all)')
    .option('--dry-run', 'show what would be done, and write nothing')
    .addHelpText('after', help)
    .action(async (directory: string, exportName: string | undefined, options: Options) => {
      const signal = abortOnSignals();
      const { repair } = await import('../agent/repair.js');
      const { dryRun = false } = options;
      const exports = await repair(directory, { exportName, dryRun, signal, onProgress: () => {} });
      print(options, { directory, dryRun, exports }, (answer) =>
        answer.exports.flatMap((one) => describe(one, dryRun)).join('\n'),
      );
      refuseIfIncomplete(exports);
    });
}

function describe(one: RepairedExport, dryRun: boolean): string[] {
  const { export: name, points, pending, leftOut, gone, problem } = one;
  if (problem !== null) return [`${name}: left unchanged: ${problem}`];
  return [
    `${name}: ${sayManifest(one, dryRun)}`,
    ...points.map((point) => `  ${point.id}  ${point.mode}, ${sayPoint(point)}`),
    ...(pending === null ? [] : [`  ${pending}  complete; the next pull asks the server whether it counts`]),
    ...gone.map((id) => `  ${id}  dropped: its image is not there`),
    ...leftOut.map(({ file, reason }) => `  ${file}  left out: ${reason}`),
  ];
}

function sayManifest({ manifest, changed, points }: RepairedExport, dryRun: boolean): string {
  const count = `${points.length} restore point${points.length === 1 ? '' : 's'}`;
  if (!changed) return `the manifest is sound, and knows all images: ${count}`;
  const found = manifest === 'good' ? 'the manifest does not know all images' : `the manifest is ${manifest}`;
  return `${found}; ${dryRun ? 'a new one would have' : 'made a new one with'} ${count}`;
}

function sayPoint({ problem, measured, baseAsserted }: RepairedExport['points'][number]): string {
  if (problem !== null) return `damaged: ${problem}`;
  if (measured) return 'taken in without a checksum from its day: changes since then cannot be seen';
  return baseAsserted ? 'base asserted' : 'sound';
}

function refuseIfIncomplete(exports: readonly RepairedExport[]): void {
  const bad = exports.filter(
    ({ problem, leftOut, points }) =>
      problem !== null || leftOut.length > 0 || points.some((point) => point.problem !== null),
  );
  if (bad.length === 0) return;
  throw new AgentError(
    `not everything could be repaired: ${bad.map((one) => one.export).join(', ')}`,
    'see above for the causes; tidemark verify shows which restore points are good',
  );
}

import type { Command } from 'commander';
import { AgentError } from '../agent/agent-error.js';
import type { RepairedExport } from '../agent/repair.js';
import { print, withOfflineOptions } from './command-line.js';
import { abortOnSignals } from './stop-signals.js';

interface Options {
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

const help = `
Each image carries its own entry of the manifest. Where a manifest is lost or damaged, it is made anew from them; a sound
one that does not know all images is completed. Every image that is taken in is read as a whole and compared with the
checksum that it carries, and its chain has to be there. Images are never changed, and a damaged manifest is kept as
manifest.json.damaged-TIME. The exit code is 1 when an image is damaged or had to be left out.

  tidemark repair /backup --dry-run
  tidemark repair /backup vm1`;

export function addRepairCommand(program: Command): void {
  withOfflineOptions(
    program.command('repair').description('make manifests that are lost or damaged anew, from the images'),
  )
    .argument('<DIR>', 'what tidemark pull wrote to')
    .argument('[EXPORT]', 'this export alone')
    .option('--dry-run', 'say what would be done, and write nothing')
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
  if (problem !== null) return [`${name}: left as it is: ${problem}`];
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
    'see above; tidemark verify tells which restore points are good',
  );
}

import type { Command } from 'commander';
import type { RestoreResult } from '../agent/restore.js';
import {
  abortOnSignals,
  type CommonOptions,
  controlClient,
  formatSize,
  print,
  withCommonOptions,
} from './command-line.js';
import { tlsFilesOf } from './credential-files.js';
import { writeLine } from './output.js';
import { Progress } from './progress.js';
import { nameServedDisk } from './served-disk.js';

interface Options extends CommonOptions {
  readonly to: string;
  readonly at?: string;
  readonly force?: boolean;
  readonly unchecked?: boolean;
}

const help = `
FILE becomes a sparse raw image, and gets its name when it is complete. An NBD export must exist and be large enough.
You can also restore with qemu-img, without tidemark:

  qemu-img convert -O raw DIR/EXPORT/ID.qcow2 FILE`;

export function addRestoreCommand(program: Command): void {
  withCommonOptions(program.command('restore').description('write a disk as it was at a restore point'))
    .argument('<DIR>', 'the directory that tidemark pull wrote to')
    .argument('<EXPORT>')
    .requiredOption('--to <FILE|NBD-URI>', 'a new file, a block device (with --force), or an NBD export')
    .option('--at <ID>', 'the restore point (default: the newest)')
    .option('--force', 'overwrite an existing file or a block device')
    .option('--unchecked', 'do not compare the images with their checksums')
    .addHelpText('after', help)
    .action(async (directory: string, exportName: string, options: Options) => {
      const signal = abortOnSignals();
      const { restore } = await import('../agent/restore.js');
      const { assertUnused } = await import('../storage/image/assert-unused.js');
      const progress = new Progress(process.stderr);
      const { to, at, force = false, unchecked = false } = options;
      const onProgress = (done: number, total: number) => progress.update(exportName, done, total);
      const onNote = (text: string) => {
        progress.clear();
        writeLine(options.json ? process.stderr : process.stdout, `${exportName}: ${text}`);
      };
      const tls = tlsFilesOf(options);
      const what = { directory, exportName, to, at, force, checkUnused: assertUnused };
      const request = { ...what, check: !unchecked, signal, onProgress, onNote, tls };
      const result = await restore(request)
        .catch(async (error: unknown) => {
          throw await nameServedDisk(error, to, controlClient(options));
        })
        .finally(() => progress.clear());
      print(options, result, describe);
    });
}

function describe({ export: name, id, takenAt, to, sizeBytes, baseAsserted }: RestoreResult): string {
  const ground = baseAsserted ? ', base asserted' : '';
  return `restored ${name} as of ${takenAt} (${id}) to ${to}: ${formatSize(sizeBytes)}${ground}`;
}

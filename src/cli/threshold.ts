import { type Command, Option } from 'commander';
import type { NewThreshold, Threshold } from '../api/threshold.js';
import { roomPlaces, thresholdKinds } from '../api/values.js';
import {
  type CommonOptions,
  controlClient,
  formatSize,
  formatTable,
  print,
  secondsArgument,
  sizeArgument,
  withCommonOptions,
} from './command-line.js';

interface AddOptions extends CommonOptions {
  readonly name?: string;
  readonly export?: string[];
  readonly bitmap?: string;
  readonly size?: number;
  readonly share?: string;
  readonly age?: number;
  readonly of?: NewThreshold['of'];
}

const help = `
When a threshold is crossed, an event goes to the log and to the hooks of the server; another follows when that is over.

$ tidemark threshold add backup-age --bitmap nightly --age 26h --export 'vm*'
$ tidemark threshold add dirty --bitmap nightly --share 30
$ tidemark threshold add room --of scratch --size 20G`;

export function addThresholdCommands(program: Command): void {
  const group = program.command('threshold').description('limits whose crossing is told').addHelpText('after', help);

  withCommonOptions(group.command('list').description('list the thresholds, and where they are crossed')).action(
    async (options: CommonOptions) => {
      const answer = await controlClient(options).get<{ thresholds: Threshold[] }>('thresholds');
      print(options, answer, ({ thresholds }) => thresholdTable(thresholds));
    },
  );
  addAdd(group);
  withCommonOptions(
    group.command('remove <NAME>').description('remove a threshold that was added by a command'),
  ).action(async (name: string, options: CommonOptions) => {
    await controlClient(options).delete(['thresholds', name]);
    print(options, { removed: name }, () => `removed ${name}`);
  });
}

function addAdd(group: Command): void {
  withCommonOptions(
    group
      .command('add <KIND>')
      .description(`add a threshold, which stays after a restart of the server: ${thresholdKinds.join(', ')}`),
  )
    .option('--name <NAME>', 'its name (default: the kind)')
    .option('--export <PATTERN...>', 'the exports that it is about (default: all)')
    .option('--bitmap <BITMAP>', 'the bitmap that dirty and backup-age are about')
    .option('--size <SIZE>', 'dirty: the most that may be dirty; room: the least that has to be free', sizeArgument)
    .option('--share <PERCENT>', 'dirty: the most of the disk that may be dirty')
    .option('--age <TIME>', 'backup-age: how old the last backup may be, such as 90m, 26h or 7d', secondsArgument)
    .addOption(new Option('--of <PLACE>', 'room: whose file system').choices(roomPlaces))
    .action(async (kind: string, options: AddOptions) => {
      const { name, export: exports, bitmap, size, share, age, of } = options;
      const limitPercent = share === undefined ? undefined : Number(share);
      const wanted = { kind, name, exports, bitmap, limitBytes: size, limitPercent, limitSeconds: age, of };
      const added = await controlClient(options).post<Threshold>(['thresholds'], wanted);
      print(options, added, (threshold) => `added ${threshold.name}`);
    });
}

function thresholdTable(thresholds: readonly Threshold[]): string {
  const rows = thresholds.map((one) => [
    one.name,
    one.kind,
    one.of === undefined || one.of === 'disk' ? one.exports.join(' ') : one.of,
    one.bitmap ?? '-',
    limitOf(one),
    one.origin,
    one.crossed.length === 0 ? '-' : one.crossed.map(crossingOf).join(', '),
  ]);
  return formatTable(['NAME', 'KIND', 'OF', 'BITMAP', 'LIMIT', 'FROM', 'CROSSED'], rows, [4]);
}

function limitOf({ limitBytes, limitPercent, limitSeconds }: Threshold): string {
  if (limitBytes !== undefined) return formatSize(limitBytes);
  return limitPercent === undefined ? `${limitSeconds} s` : `${limitPercent} %`;
}

function crossingOf({ export: name, valueBytes, ageSeconds, since }: Threshold['crossed'][number]): string {
  const of = name === undefined ? '' : `${name}: `;
  if (valueBytes !== undefined) return `${of}${formatSize(valueBytes)} (since ${since})`;
  return ageSeconds === undefined ? `${of}since ${since}` : `${of}${ageSeconds} s (since ${since})`;
}

import { isAbsolute, resolve } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import type { ExportDescription, UnservedExport } from '../api/export.js';
import type { ExportStatistics, ServerStatistics } from '../api/statistics.js';
import type { ExportOrigin } from '../api/values.js';
import { CodedError } from '../base/coded-error.js';
import { EXPORT_GRAMMAR, parseExportSpec } from '../export/export-spec.js';
import { bitmapTable } from './bitmap.js';
import {
  type CommonOptions,
  controlClient,
  formatSize,
  formatTable,
  print,
  sizeArgument,
  withCommonOptions,
} from './command-line.js';
import type { ControlClient } from './control-client.js';
import { commandTable } from './top/command-table.js';

interface ExportList {
  readonly exports: readonly ExportDescription[];
  /** Missing in answers of servers that do not keep exports. */
  readonly unserved?: readonly UnservedExport[];
}

interface AddOptions extends CommonOptions {
  readonly temporary?: boolean;
}

const origins: Record<ExportOrigin, string> = {
  file: 'file (the configuration file)',
  flag: 'flag (the command line of the server)',
  kept: 'kept (added by a command, and served again after a restart)',
  temporary: 'temporary (added by a command, and gone after a restart)',
};

/** Why an export that was removed comes back. */
const comesBack: Partial<Record<ExportOrigin, string>> = {
  file: 'until the next start, because the configuration file has it',
  flag: 'until the next start, because a flag of the server names it',
};

interface RemoveOptions extends CommonOptions {
  readonly drain?: string;
  readonly force?: boolean;
}

export function addExportCommands(program: Command): void {
  const group = program.command('export').description('manage the disks that a server serves');

  withCommonOptions(group.command('list').description('list the exports')).action(async (options: CommonOptions) => {
    print(options, await controlClient(options).get<ExportList>('exports'), exportTable);
  });

  withCommonOptions(group.command('show <NAME>').description('show one export, its bitmaps and clients')).action(
    async (name: string, options: CommonOptions) => {
      const client = controlClient(options);
      const described = await client.get<ExportDescription>('exports', name);
      const statistics = await statisticsOf(client, name);
      print(options, { ...described, ...(statistics && { statistics }) }, describe);
    },
  );

  withCommonOptions(group.command('add <SPEC>').description('start serving a disk, also after a restart of the server'))
    .option('--temporary', 'do not serve it again after a restart')
    .addHelpText('after', `\nSPEC is ${EXPORT_GRAMMAR}; a relative PATH starts at the current folder.`)
    .action(async (text: string, options: AddOptions) => {
      const spec = parseExportSpec(text);
      const client = controlClient(options);
      if (client.place.isRemote && !isAbsolute(spec.path)) throw relativeThere(spec.path);
      const { temporary } = options;
      const wanted = { ...spec, path: resolve(spec.path), ...(temporary && { temporary }) };
      const added = await client.post<ExportDescription>(['exports'], wanted);
      print(options, added, ({ name }) => `serving ${name}`);
    });

  withCommonOptions(group.command('remove <NAME>').description('stop serving a disk; its bitmaps stay stored'))
    .option(
      '--drain <SECONDS>',
      'let in no new clients, and wait this long for the others to disconnect',
      drainArgument,
    )
    .option('--force', 'abort its active backups, and disconnect its clients')
    .addHelpText('after', '\nWithout --force, the command fails while clients or backups use the export.')
    .action(async (name: string, options: RemoveOptions) => {
      const { drain, force } = options;
      const query = { ...(drain !== undefined && { drain }), ...(force && { force: 'true' }) };
      const client = controlClient(options);
      const origin = await originOf(client, name);
      await client.delete(['exports', name], query);
      const note = origin && comesBack[origin];
      print(options, { removed: name }, () => `no longer serving ${name}${note === undefined ? '' : `, ${note}`}`);
    });

  withCommonOptions(group.command('resize').description('change the size of a disk'))
    .argument('<NAME>')
    .argument('<SIZE>', 'the new size, such as 20G', sizeArgument)
    .addHelpText('after', '\nA file that is too small grows. The new part is dirty in every bitmap.')
    .action(async (name: string, sizeBytes: number, options: CommonOptions) => {
      const resized = await controlClient(options).post<ExportDescription>(['exports', name, 'resize'], { sizeBytes });
      print(options, resized, (served) => `${served.name} has ${formatSize(served.sizeBytes)} now`);
    });
}

/** Undefined if that cannot be told. The removal itself says why, if it matters. */
async function originOf(client: ControlClient, name: string): Promise<ExportOrigin | undefined> {
  const found = await client.get<ExportDescription>('exports', name).catch(() => undefined);
  return found?.origin;
}

/** Undefined if the caller may not know them, or the server does not keep any. */
async function statisticsOf(client: ControlClient, name: string): Promise<ExportStatistics | undefined> {
  try {
    const { exports } = await client.find<ServerStatistics>(['statistics'], { export: name });
    return exports[0];
  } catch (error) {
    // An earlier version.
    if (error instanceof CodedError && error.code === 'NOT_FOUND') return undefined;
    throw error;
  }
}

function relativeThere(path: string): CodedError {
  const what = `the path ${path} is relative, and the server is on another machine`;
  return new CodedError('USAGE_INVALID', what, 'give the path from / on, as it is on that machine');
}

/** Argument parser for commander: whole seconds. */
function drainArgument(text: string): string {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError('Expected a whole number of seconds.');
  return text;
}

function exportTable({ exports, unserved = [] }: ExportList): string {
  const rows = exports.map(({ name, sizeBytes, readOnly, bitmaps, connections, origin, path }) => [
    name,
    formatSize(sizeBytes),
    readOnly ? 'read-only' : 'writable',
    String(bitmaps.length),
    String(connections.length),
    origin ?? '',
    path ?? '',
  ]);
  const table = formatTable(['NAME', 'SIZE', 'ACCESS', 'BITMAPS', 'CLIENTS', 'ORIGIN', 'PATH'], rows, [1, 3, 4]);
  if (unserved.length === 0) return table;
  const missing = unserved.map(({ name, problem }) => [name, problem]);
  return `${table}\n\n${formatTable(['NOT SERVED', 'PROBLEM'], missing)}`;
}

function describe(served: ExportDescription & { readonly statistics?: ExportStatistics }): string {
  const { name, path, origin, description, sizeBytes, readOnly, minBlockBytes } = served;
  const { bitmaps, connections, statistics } = served;
  const facts = [
    `name         ${name}`,
    ...(path === undefined ? [] : [`path         ${path}`]),
    ...(origin === undefined ? [] : [`origin       ${origins[origin]}`]),
    ...(description === '' ? [] : [`description  ${description}`]),
    `size         ${formatSize(sizeBytes)} (${sizeBytes} bytes)`,
    `access       ${readOnly ? 'read-only' : 'writable'}`,
    `min-block    ${minBlockBytes}`,
  ];
  const clients = connections.map(({ client, bytesRead, bytesWritten, connectedAt }) => [
    client,
    formatSize(bytesRead),
    formatSize(bytesWritten),
    connectedAt,
  ]);
  const tables = [
    ...(bitmaps.length > 0 ? [bitmapTable(bitmaps)] : []),
    ...(clients.length > 0 ? [formatTable(['CLIENT', 'READ', 'WRITTEN', 'SINCE'], clients, [1, 2])] : []),
    statistics ? commandTable(statistics) : '',
  ];
  return [facts.join('\n'), ...tables.filter((table) => table !== '')].join('\n\n');
}

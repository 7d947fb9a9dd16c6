import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { GIB, MIB, parseSize } from '../src/base/units.js';
import { type Case, cases } from './cases.js';
import { type ServerName, serverNames } from './servers.js';

export interface BenchOptions {
  /** How many times everything is measured. */
  readonly rounds: number;
  /** The length of each measurement. */
  readonly seconds: number;
  readonly sizeBytes: number;
  /** Servers on the first core, fio on the second. */
  readonly pin: boolean;
  /** As given; empty for everything. */
  readonly only: readonly string[];
  readonly servers: readonly ServerName[];
  /** The main.js of another build of tidemark, which is measured as the server `before`. */
  readonly before: string | undefined;
  readonly cases: readonly Case[];
  readonly parts: ReadonlySet<Part>;
  /** The file for the report; undefined if it is only printed. */
  readonly output: string | undefined;
}

interface GivenOptions {
  readonly quick: boolean;
  readonly pin: boolean;
  readonly only: readonly string[];
  readonly beside?: string;
  readonly rounds?: number;
  readonly seconds?: number;
  readonly size?: number;
  readonly output?: string;
}

const full = { rounds: 5, seconds: 5, sizeBytes: GIB };
const quick = { rounds: 1, seconds: 1, sizeBytes: 256 * MIB };
const report = 'docs/benchmarks.md';

/** Measured on tidemark alone: cached reads beside cold ones, what bitmaps cost, what a crash adds, a start, views, pulls. */
const parts = ['cold', 'cost', 'crash', 'start', 'view', 'pull'] as const;
export type Part = (typeof parts)[number];

export function parseOptions(argv: readonly string[]): BenchOptions {
  const names = [...cases.map(({ name }) => name), ...parts, ...serverNames];
  const command = new Command('npm run bench --')
    .description(`Compares tidemark with other NBD servers, using fio, and writes ${report}`)
    .option('--rounds <n>', `how many times everything is measured (default: ${full.rounds})`, wholeNumber)
    .option('--seconds <n>', `length of each measurement (default: ${full.seconds})`, wholeNumber)
    .option('--size <size>', 'size of the served disk (default: 1G)', size)
    .option('--pin', 'servers on the first core, fio on the second', false)
    .addOption(new Option('--only <name...>', 'only these cases, parts and servers').choices(names).default([], 'all'))
    .option(
      '--beside <checkout>',
      "measure the build of another checkout too, as the server 'before'; cases only",
      build,
    )
    .option('--quick', 'one short round on a small disk', false)
    .option('--output <file>', 'file for the report; a run that is quick or partial writes one only if this is given')
    .parse(argv);
  const given = command.opts<GivenOptions>();
  if (given.only.includes('before') && given.beside === undefined) {
    command.error('error: --only before needs --beside <checkout>');
  }

  const defaults = given.quick ? quick : full;
  const complete = !given.quick && given.only.length === 0 && given.beside === undefined;
  return {
    rounds: given.rounds ?? defaults.rounds,
    seconds: given.seconds ?? defaults.seconds,
    sizeBytes: given.size ?? defaults.sizeBytes,
    pin: given.pin,
    only: given.only,
    ...selection(given),
    before: given.beside,
    output: given.output ?? (complete ? report : undefined),
  };
}

/**
 * What `--only` leaves. If it names nothing of a kind, all of that kind is measured: `--only nbdkit` is every case, on
 * nbdkit. Parts compare no builds, so with `--beside` they have to be named.
 */
function selection({ only, beside }: GivenOptions): Pick<BenchOptions, 'servers' | 'cases' | 'parts'> {
  const available = serverNames.filter((name) => name !== 'before' || beside !== undefined);
  const namedServers = available.filter((name) => only.includes(name));
  const namedCases = cases.filter(({ name }) => only.includes(name));
  const namedParts = parts.filter((part) => only.includes(part));
  const servers = namedServers.length > 0 ? namedServers : available;
  const everything = namedCases.length === 0 && namedParts.length === 0;
  const chosenParts = everything && beside === undefined ? parts : namedParts;
  return {
    servers,
    cases: everything ? cases : namedCases,
    parts: new Set(servers.includes('tidemark') ? chosenParts : []),
  };
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('It must be a whole number above 0.');
  return value;
}

function build(checkout: string): string {
  const main = resolve(checkout, 'dist/main.js');
  if (!existsSync(main)) throw new InvalidArgumentError(`There is no ${main} (run npm run build there).`);
  return main;
}

function size(text: string): number {
  const bytes = parseSize(text);
  if (bytes === undefined || bytes < MIB) throw new InvalidArgumentError('It must be a size of 1M or more.');
  return bytes;
}

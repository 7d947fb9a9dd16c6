import { Command, InvalidArgumentError, Option } from 'commander';
import { GIB, MIB, parseSize } from '../src/base/units.js';
import { type Case, cases } from './cases.js';
import { type ServerName, serverNames } from './servers.js';

export interface BenchOptions {
  /** Times that everything is measured. */
  readonly rounds: number;
  /** Length of each measurement. */
  readonly seconds: number;
  readonly sizeBytes: number;
  /** Servers on the first core, fio on the second. */
  readonly pin: boolean;
  /** As it was given; empty for everything. */
  readonly only: readonly string[];
  readonly servers: readonly ServerName[];
  readonly cases: readonly Case[];
  readonly parts: ReadonlySet<Part>;
  /** Where the report goes; undefined: it is printed only. */
  readonly output: string | undefined;
}

interface GivenOptions {
  readonly quick: boolean;
  readonly pin: boolean;
  readonly only: readonly string[];
  readonly rounds?: number;
  readonly seconds?: number;
  readonly size?: number;
  readonly output?: string;
}

const full = { rounds: 5, seconds: 5, sizeBytes: GIB };
const quick = { rounds: 1, seconds: 1, sizeBytes: 256 * MIB };
const report = 'docs/benchmarks.md';

/** What is measured of tidemark alone: cached reads beside cold ones, what bitmaps cost, what a crash adds, a start, views, pulls. */
const parts = ['cold', 'cost', 'crash', 'start', 'view', 'pull'] as const;
export type Part = (typeof parts)[number];

export function parseOptions(argv: readonly string[]): BenchOptions {
  const names = [...cases.map(({ name }) => name), ...parts, ...serverNames];
  const given = new Command('npm run bench --')
    .description(`Compares tidemark with other NBD servers by fio, and writes ${report}`)
    .option('--rounds <n>', `times that everything is measured (default: ${full.rounds})`, wholeNumber)
    .option('--seconds <n>', `length of each measurement (default: ${full.seconds})`, wholeNumber)
    .option('--size <size>', 'size of the served disk (default: 1G)', size)
    .option('--pin', 'servers on the first core, fio on the second', false)
    .addOption(new Option('--only <name...>', 'only these cases, parts and servers').choices(names).default([], 'all'))
    .option('--quick', 'one short round on a small disk', false)
    .option('--output <file>', 'where the report goes; a run that is quick or in part writes it only if this is given')
    .parse(argv)
    .opts<GivenOptions>();

  const defaults = given.quick ? quick : full;
  const complete = !given.quick && given.only.length === 0;
  return {
    rounds: given.rounds ?? defaults.rounds,
    seconds: given.seconds ?? defaults.seconds,
    sizeBytes: given.size ?? defaults.sizeBytes,
    pin: given.pin,
    only: given.only,
    ...selection(given.only),
    output: given.output ?? (complete ? report : undefined),
  };
}

/** What `--only` leaves. A kind of which it names none is whole: `--only nbdkit` is every case, on nbdkit. */
function selection(only: readonly string[]): Pick<BenchOptions, 'servers' | 'cases' | 'parts'> {
  const namedServers = serverNames.filter((name) => only.includes(name));
  const namedCases = cases.filter(({ name }) => only.includes(name));
  const namedParts = parts.filter((part) => only.includes(part));
  const servers = namedServers.length > 0 ? namedServers : serverNames;
  const everything = namedCases.length === 0 && namedParts.length === 0;
  const chosenParts = everything ? parts : namedParts;
  return {
    servers,
    cases: everything ? cases : namedCases,
    parts: new Set(servers.includes('tidemark') ? chosenParts : []),
  };
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('It has to be a whole number above 0.');
  return value;
}

function size(text: string): number {
  const bytes = parseSize(text);
  if (bytes === undefined || bytes < MIB) throw new InvalidArgumentError('It has to be a size of 1M or more.');
  return bytes;
}

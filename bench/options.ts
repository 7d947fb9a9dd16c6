import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { MIB, parseSize } from '../src/base/units.js';
import { type Case, casePartNames, cases } from './cases.js';
import { type ServerName, serverNames } from './servers.js';

export interface BenchOptions {
  /** How many times everything is measured. */
  readonly rounds: number;
  /** The length of each measurement. */
  readonly seconds: number;
  readonly sizeBytes: number;
  /** Servers on the first core, fio on the second, in the parts with one connection. */
  readonly pin: boolean;
  readonly quick: boolean;
  /** As given; empty for everything. */
  readonly only: readonly string[];
  readonly servers: readonly ServerName[];
  /** The main.js of another build of tidemark, which is measured as the server `before`. */
  readonly before: string | undefined;
  readonly cases: readonly Case[];
  readonly parts: readonly PartName[];
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

/** With fewer than six rounds no interval has a confidence of 95 %. */
const full = { rounds: 6, seconds: 1, sizeBytes: 512 * MIB };
const quick = { rounds: 2, seconds: 1, sizeBytes: 256 * MIB };
const report = 'docs/benchmarks.md';

/** Parts that measure tidemark alone, or beside other programs than the servers of `--only`. */
const tidemarkPartNames = ['cold', 'cost', 'accounting', 'crash', 'start', 'view', 'pull'] as const;
/** In the order of the report. */
const partNames = [...casePartNames, 'idle', ...tidemarkPartNames] as const;
export type PartName = (typeof partNames)[number];

export function parseOptions(argv: readonly string[]): BenchOptions {
  const names = [...partNames, ...cases.map(({ name }) => name), ...serverNames];
  const command = new Command('npm run bench --')
    .description(`Compares tidemark with other NBD servers, using fio, and writes ${report}`)
    .option('--rounds <n>', `how many times everything is measured (default: ${full.rounds})`, wholeNumber)
    .option('--seconds <n>', `length of each measurement (default: ${full.seconds})`, wholeNumber)
    .option('--size <size>', 'size of the served disk (default: 512M)', size)
    .option('--pin', 'servers on the first core, fio on the second, where there is one connection', false)
    .addOption(new Option('--only <name...>', 'only these parts, cases and servers').choices(names).default([], 'all'))
    .option(
      '--beside <checkout>',
      "measure the build of another checkout too, as the server 'before'; cases only",
      build,
    )
    .option('--quick', 'only the cases with one connection, on a small disk, in less than three minutes', false)
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
    quick: given.quick,
    only: given.only,
    ...selection(given),
    before: given.beside,
    output: given.output ?? (complete ? report : undefined),
  };
}

/**
 * What `--only` leaves. If it names nothing of a kind, all of that kind is measured: `--only nbdkit` is every case, on
 * nbdkit. A part that compares no servers has to be named together with `--beside`, and is left out without tidemark.
 */
function selection({ only, beside, quick }: GivenOptions): Pick<BenchOptions, 'servers' | 'cases' | 'parts'> {
  const available = serverNames.filter((name) => name !== 'before' || beside !== undefined);
  const namedServers = available.filter((name) => only.includes(name));
  const servers = namedServers.length > 0 ? namedServers : available;

  const isNamed = (name: string) => only.includes(name);
  const everything = !partNames.some(isNamed) && !cases.some(({ name }) => isNamed(name));
  const byDefault: readonly PartName[] = quick ? ['single'] : beside === undefined ? partNames : casePartNames;
  const isWanted = (part: PartName) => (everything ? byDefault.includes(part) : isNamed(part));
  const chosenCases = cases.filter(({ part, name }) => isWanted(part) || isNamed(name));
  const parts = partNames.filter((part) => {
    const isPossible = servers.includes('tidemark') || !tidemarkPartNames.some((one) => one === part);
    return isPossible && (isWanted(part) || chosenCases.some((one) => one.part === part));
  });
  return { servers, cases: chosenCases, parts };
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
  if (bytes === undefined || bytes < 16 * MIB) throw new InvalidArgumentError('It must be a size of 16M or more.');
  return bytes;
}

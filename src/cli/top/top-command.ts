import { setTimeout as sleep } from 'node:timers/promises';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { ServerStatistics } from '../../api/statistics.js';
import { CodedError } from '../../base/coded-error.js';
import { type CommonOptions, controlClient, print, withCommonOptions } from '../command-line.js';
import { type Subject, topBetween } from './rates.js';
import { TopScreen } from './top-screen.js';
import { type Sorting, sortings, sortRows, topTable } from './top-table.js';

interface TopOptions extends CommonOptions {
  readonly by: Subject;
  readonly sort: Sorting;
  /** Seconds. */
  readonly interval: number;
  readonly once?: boolean;
}

type ReadStatistics = (signal?: AbortSignal) => Promise<ServerStatistics>;

const ENDING_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

export function addTopCommand(program: Command): void {
  withCommonOptions(program.command('top').description('show what clients are doing now, by export or by client'))
    .addOption(new Option('--by <WHAT>', 'what the rows are about').choices(['export', 'client']).default('export'))
    .addOption(new Option('--sort <ORDER>', 'what comes first').choices(sortings).default('ops'))
    .option('--interval <SECONDS>', 'how long to measure', intervalArgument, 1)
    .option('--once', 'print one table after one interval')
    .addHelpText(
      'after',
      '\nOn a terminal, s sorts by something else, and q ends it. Elsewhere, and with --json, --once is needed.',
    )
    .action(async (options: TopOptions) => {
      const client = controlClient(options);
      const read: ReadStatistics = (signal) =>
        (signal ? client.until(signal) : client).get<ServerStatistics>('statistics');
      if (options.once) return printOnce(read, options);
      if (options.json || !process.stdout.isTTY) {
        throw new CodedError('USAGE_INVALID', 'top needs a terminal', 'print one table with --once');
      }
      return showTop(read, options);
    });
}

async function printOnce(read: ReadStatistics, options: TopOptions): Promise<void> {
  const { by, sort, interval } = options;
  const before = await read();
  await sleep(interval * 1000);
  const { seconds, rows } = topBetween(before, await read(), by);
  print(options, { seconds, rows: sortRows(rows, sort) }, (top) => topTable(top.rows, by));
}

/** Until the user ends it, or a signal does. */
async function showTop(read: ReadStatistics, { by, sort, interval }: TopOptions): Promise<void> {
  const { stdin, stdout } = process;
  const ending = new AbortController();
  const end = () => ending.abort();
  const screen = new TopScreen(stdout, by, sort, end);
  const press = (keys: Buffer) => {
    for (const key of keys.toString('latin1')) screen.press(key);
  };
  const redraw = () => screen.draw();
  let before = await read();
  for (const signal of ENDING_SIGNALS) process.on(signal, end);
  stdout.on('resize', redraw);
  if (stdin.isTTY) stdin.setRawMode(true).on('data', press).resume();
  screen.enter();
  try {
    while (!ending.signal.aborted) {
      await sleep(interval * 1000, undefined, { signal: ending.signal });
      const after = await read(ending.signal).catch((error: unknown) => complaintOf(error));
      if (typeof after === 'string') screen.complain(after);
      else {
        screen.show(topBetween(before, after, by));
        before = after;
      }
    }
  } catch (error) {
    if (!ending.signal.aborted) throw error;
  } finally {
    screen.leave();
    if (stdin.isTTY) stdin.off('data', press).setRawMode(false).pause();
    stdout.off('resize', redraw);
    for (const signal of ENDING_SIGNALS) process.off(signal, end);
  }
}

/** A server that is being restarted comes back. */
function complaintOf(error: unknown): string {
  if (error instanceof CodedError && error.code === 'NO_SERVER') return error.message;
  throw error;
}

/** Argument parser for commander. */
function intervalArgument(text: string): number {
  const seconds = /^\d{1,4}(\.\d{1,3})?s?$/.test(text) ? Number.parseFloat(text) : 0;
  if (seconds < 0.1 || seconds > 3600) throw new InvalidArgumentError('Expected 0.1 to 3600 seconds.');
  return seconds;
}

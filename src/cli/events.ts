import { setTimeout as delay } from 'node:timers/promises';
import { type Command, InvalidArgumentError } from 'commander';
import type { Event, EventPage } from '../api/event.js';
import { inWords } from '../base/in-words.js';
import { printableValue } from '../base/printable.js';
import { type CommonOptions, controlClient, secondsArgument, withCommonOptions } from './command-line.js';
import type { ControlClient } from './control-client.js';
import { print, writeJson, writeLine } from './output.js';

interface EventsOptions extends CommonOptions {
  readonly follow?: boolean;
  readonly since?: Date;
  readonly export?: string;
}

const POLL_MILLISECONDS = 1000;

const help = `
Shows the latest 100 events, or all since a time, as far as the server remembers them: the last 2000, also from before
its last start. The newest is printed last. With --follow and --json, each event is a document on a line of its own.

$ tidemark events --since 12h
$ tidemark events --since 2026-11-28T02:00 --export vm1
$ tidemark events --follow`;

export function addEventsCommand(program: Command): void {
  withCommonOptions(
    program.command('events').description('show what happened to exports, bitmaps, backups and the server'),
  )
    .option('--since <TIME>', 'how long ago, such as 30m, 12h or 7d, or a date and time', timeArgument)
    .option('--export <NAME>', 'only events about this export')
    .option('--follow', 'then print events as they happen, until interrupted')
    .addHelpText('after', help)
    .action(showEvents);
}

async function showEvents(options: EventsOptions): Promise<void> {
  const client = controlClient(options);
  const events = await eventsSince(client, options);
  if (options.follow) {
    for (const event of events) printEvent(options, event);
    await follow(client, options, events.at(-1)?.id ?? 0);
  } else print(options, { events }, (answer) => answer.events.map(lineOf).join('\n'));
}

/** Oldest first. Without a time, only one page. */
async function eventsSince(client: ControlClient, { since, export: name }: EventsOptions): Promise<Event[]> {
  if (since === undefined) return (await pageOf(client, { name })).events.toReversed();
  const found: Event[] = [];
  for (let before: number | null | undefined; before !== null; ) {
    const { events, next } = await pageOf(client, { name, before });
    const inTime = events.filter(({ at }) => Date.parse(at) >= since.getTime());
    found.push(...inTime);
    before = inTime.length < events.length ? null : next;
  }
  return found.reverse();
}

/** Prints what happens after the event with this id. */
async function follow(client: ControlClient, options: EventsOptions, id: number): Promise<never> {
  for (let after = id; ; await delay(POLL_MILLISECONDS)) {
    const missed: Event[] = [];
    for (let before: number | null | undefined; before !== null; ) {
      const page = await pageOf(client, { name: options.export, after, before });
      missed.push(...page.events);
      before = page.next;
    }
    for (const event of missed.toReversed()) printEvent(options, event);
    after = missed[0]?.id ?? after;
  }
}

interface Wanted {
  readonly name: string | undefined;
  readonly after?: number;
  readonly before?: number | undefined;
}

function pageOf(client: ControlClient, { name, after, before }: Wanted): Promise<EventPage> {
  return client.find(['events', 'history'], {
    ...(name !== undefined && { export: name }),
    ...(after !== undefined && { after: String(after) }),
    ...(before !== undefined && { before: String(before) }),
  });
}

function printEvent({ json }: EventsOptions, event: Event): void {
  if (json) writeJson(process.stdout, event);
  else writeLine(process.stdout, lineOf(printableValue(event)));
}

function lineOf({ id: _id, at, type, by, ...fields }: Event): string {
  return `${at}  ${type.padEnd(22)}  ${inWords({ ...fields, by })}`.trimEnd();
}

function timeArgument(text: string): Date {
  const time = /^\d{4}-/.test(text) ? new Date(text) : new Date(Date.now() - secondsArgument(text) * 1000);
  if (!Number.isNaN(time.getTime())) return time;
  throw new InvalidArgumentError('Expected how long ago, such as 12h, or a time such as 2026-11-28T02:00.');
}

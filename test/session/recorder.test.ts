import { expect, test } from 'vitest';
import { accountedCommands, newAccountingMemory } from '../../src/export/accounting/accounting-memory.js';
import { countersOf, DiskAccounting } from '../../src/export/accounting/disk-accounting.js';
import { describeAccounting } from '../../src/export/accounting/statistics.js';
import { Command } from '../../src/protocol/constants.js';
import { PassClock } from '../../src/session/pass-clock.js';
import { Recorder } from '../../src/session/recorder.js';

/** A recorder whose clock is set by the test, in milliseconds. */
function recording(bounds = [1, 10]) {
  const memory = newAccountingMemory(bounds);
  const clock = { now: 1000 };
  const recorder = new Recorder(memory, new PassClock(() => clock.now));
  const commands = () => describeAccounting(memory, true).commands;
  return { memory, clock, recorder, commands };
}

test('commands are accounted at their numbers in NBD', () => {
  const numbers = Object.fromEntries(accountedCommands.map((command, number) => [command, number]));
  expect(numbers).toEqual({
    read: Command.READ,
    write: Command.WRITE,
    flush: Command.FLUSH,
    trim: Command.TRIM,
    cache: Command.CACHE,
    zero: Command.WRITE_ZEROES,
    status: Command.BLOCK_STATUS,
    other: Command.DISC,
  });
});

test('requests of a pass that are served at once all take as long as the pass until its replies have left', () => {
  const { clock, recorder, commands } = recording();
  recorder.begin();
  for (let i = 0; i < 3; i++) {
    recorder.succeeded(Command.READ, 512, 512);
    recorder.servedAtOnce(Command.READ);
  }
  recorder.succeeded(Command.WRITE, 4096, 8192);
  recorder.servedAtOnce(Command.WRITE);
  expect(commands().read).toMatchObject({ operations: 3, bytes: 1536, seconds: 0, latency: { counts: [0, 0, 0] } });
  clock.now += 4;
  recorder.settle();
  expect(commands().read).toMatchObject({ seconds: 0.012, latency: { counts: [0, 3, 0] } });
  expect(commands().write).toMatchObject({ seconds: 0.004, latency: { counts: [0, 1, 0] } });
});

test('what follows in a pass begins when the replies before it have left', () => {
  const { clock, recorder, commands } = recording();
  recorder.begin();
  recorder.servedAtOnce(Command.READ);
  clock.now += 5;
  recorder.settle();
  recorder.servedAtOnce(Command.READ);
  clock.now += 20;
  recorder.settle();
  clock.now += 100;
  recorder.settle();
  recorder.succeeded(Command.READ, 0, 0);
  expect(commands().read).toMatchObject({ seconds: 0.025, latency: { counts: [0, 1, 1] } });
});

test('a bin begins with its lower bound, and the last one has no end', () => {
  const { clock, recorder, commands } = recording();
  for (const milliseconds of [0, 0.5, 1, 9, 10, 1e6]) {
    recorder.begin();
    const { startedAt } = recorder;
    clock.now += milliseconds;
    recorder.succeeded(Command.FLUSH, 0, 0);
    recorder.servedLater(Command.FLUSH, startedAt);
  }
  expect(commands().flush!.latency).toEqual({ boundsSeconds: [0.001, 0.01], counts: [2, 2, 2] });
});

test('failed requests take time, invalid ones do not, and neither counts as an operation', () => {
  const { clock, recorder, commands, memory } = recording();
  recorder.begin();
  recorder.failed(Command.WRITE);
  recorder.servedAtOnce(Command.WRITE);
  for (const command of [Command.WRITE, Command.DISC, 8, 65_535]) recorder.refused(command);
  clock.now += 2;
  recorder.settle();
  const write = { operations: 0, bytes: 0, failed: 1, invalid: 1, seconds: 0.002, latency: { counts: [0, 1, 0] } };
  expect(commands()).toMatchObject({ write, other: { operations: 0, failed: 0, invalid: 3, seconds: 0 } });
  expect(countersOf(memory)).toEqual({ requests: 0, failedRequests: 5, bytesRead: 0, bytesWritten: 0 });
});

test('the highest offset is the end of a write or of zeroes, not of a trim or a read', () => {
  const { recorder, memory } = recording();
  const ends: [Command, number][] = [
    [Command.WRITE, 4096],
    [Command.WRITE_ZEROES, 8192],
    [Command.WRITE, 512],
    [Command.TRIM, 10_000],
    [Command.READ, 20_000],
  ];
  for (const [command, end] of ends) recorder.succeeded(command, 512, end);
  expect(describeAccounting(memory, false).highestOffset).toBe(8192);
});

test('time without requests is known, also to others, and unknown before the first request', () => {
  const memory = newAccountingMemory([]);
  const recorder = new Recorder(memory);
  expect(describeAccounting(memory, false).idleSeconds).toBe(null);
  recorder.begin();
  recorder.refused(Command.READ);
  expect(describeAccounting(memory, false).idleSeconds).toBeLessThan(60);
});

test('a disk remembers what clients did that have gone, but not what they left waiting', () => {
  const accounting = new DiskAccounting();
  const clients = [1, 2].map((reads) => {
    const memory = newAccountingMemory(accounting.bounds);
    const recorder = new Recorder(memory);
    for (let i = 0; i < reads; i++) recorder.succeeded(Command.READ, 512, 512);
    recorder.waiting(reads);
    return memory;
  });
  const [first, second] = clients as [(typeof clients)[0], (typeof clients)[0]];
  const described = (connected: typeof clients) => describeAccounting(accounting.total(connected), true);
  expect(described(clients)).toMatchObject({ commands: { read: { operations: 3, bytes: 1536 } }, inFlight: 3 });
  accounting.clientHasGone(first);
  expect(described([second])).toMatchObject({ commands: { read: { operations: 3, bytes: 1536 } }, inFlight: 2 });
  accounting.clientHasGone(second);
  expect(described([])).toMatchObject({ commands: { read: { operations: 3, bytes: 1536 } }, inFlight: 0 });
  expect(accounting.counters([])).toMatchObject({ bytesRead: 1536 });
});

test('new bounds begin new histograms, for clients that are connected and those that have gone', () => {
  const accounting = new DiskAccounting([1]);
  const [memory, gone] = [newAccountingMemory(accounting.bounds), newAccountingMemory(accounting.bounds)];
  const clock = { now: 0 };
  const read = (client: typeof memory, milliseconds: number) => {
    const recorder = new Recorder(client, new PassClock(() => clock.now));
    recorder.begin();
    recorder.succeeded(Command.READ, 512, 512);
    recorder.servedAtOnce(Command.READ);
    clock.now += milliseconds;
    recorder.settle();
  };
  read(gone, 5);
  accounting.clientHasGone(gone);
  read(memory, 0);
  const ofRead = () => describeAccounting(accounting.total([memory]), true).commands.read;
  expect(ofRead()).toMatchObject({ operations: 2, latency: { boundsSeconds: [0.001], counts: [1, 1] } });
  accounting.useBounds([2, 4, 8], [memory]);
  expect(accounting.bounds).toEqual([2, 4, 8]);
  const latency = { boundsSeconds: [0.002, 0.004, 0.008], counts: [0, 0, 0, 0] };
  expect(ofRead()).toMatchObject({ operations: 2, seconds: 0.005, latency });
  read(memory, 5);
  expect(ofRead()).toMatchObject({ operations: 3, seconds: 0.01, latency: { counts: [0, 0, 1, 0] } });
});

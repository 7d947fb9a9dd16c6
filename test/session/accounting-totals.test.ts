import { expect, test } from 'vitest';
import type { CommandStatistics } from '../../src/api/statistics.js';
import { newAccountingMemory } from '../../src/export/accounting/accounting-memory.js';
import { DiskAccounting } from '../../src/export/accounting/disk-accounting.js';
import { describeAccounting } from '../../src/export/accounting/statistics.js';
import { Command } from '../../src/protocol/constants.js';
import { PassClock } from '../../src/session/pass-clock.js';
import { Recorder } from '../../src/session/recorder.js';
import { Random, testSeed } from '../support/random.js';

const commands = [Command.READ, Command.WRITE, Command.FLUSH, Command.TRIM, Command.WRITE_ZEROES];

test('however clients come and go, the totals of a disk are what was done, and never fall', () => {
  const random = new Random(testSeed());
  let now = 0;
  const clock = new PassClock(() => now);
  const accounting = new DiskAccounting();
  let clients: ReturnType<typeof newAccountingMemory>[] = [];
  const done = { operations: 0, bytes: 0, failed: 0, invalid: 0, milliseconds: 0 };

  /** A pass of one client, in which some requests are served at once, and others end that began before. */
  const work = (memory: (typeof clients)[0]) => {
    const recorder = new Recorder(memory, clock);
    recorder.begin();
    let atOnce = 0;
    for (let i = random.below(5); i > 0; i--) {
      const command = random.pick(commands);
      recorder.accepted();
      if (random.chance(5)) {
        recorder.refused(command);
        done.invalid++;
        continue;
      }
      if (random.chance(5)) {
        recorder.failed(command);
        done.failed++;
      } else {
        const bytes = random.below(10_000);
        recorder.succeeded(command, bytes, bytes);
        done.operations++;
        done.bytes += bytes;
      }
      recorder.servedAtOnce(command);
      atOnce++;
    }
    const took = random.below(3000);
    now += took;
    recorder.settle();
    done.milliseconds += atOnce * took;
  };

  const total = () => {
    const { commands: described } = describeAccounting(accounting.total(clients), true);
    const sum = (of: (command: CommandStatistics) => number) =>
      Object.values(described).reduce((all, command) => all + of(command), 0);
    return {
      operations: sum(({ operations }) => operations),
      bytes: sum(({ bytes }) => bytes),
      failed: sum(({ failed }) => failed),
      invalid: sum(({ invalid }) => invalid),
      milliseconds: Math.round(sum(({ seconds }) => seconds) * 1000),
      timed: sum(({ latency }) => latency!.counts.reduce((all, count) => all + count, 0)),
    };
  };

  for (let step = 0; step < 2000; step++) {
    if (clients.length === 0 || random.chance(10)) clients.push(newAccountingMemory(accounting.bounds));
    const client = random.pick(clients);
    if (random.chance(15)) {
      accounting.clientHasGone(client);
      clients = clients.filter((one) => one !== client);
    } else work(client);
    expect(total(), `step ${step}`).toEqual({ ...done, timed: done.operations + done.failed });
  }
});

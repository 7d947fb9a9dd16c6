import { join } from 'node:path';
import { accountingSeconds, measureAccountingCost } from './accounting-cost.js';
import { costRuns, costSecondsARun, measureBitmapCost } from './bitmap-cost.js';
import type { CasePartName } from './cases.js';
import { coldRounds, measureColdReads } from './cold-reads.js';
import { measureCrashes } from './crash.js';
import { IDLE_SECONDS, idleRounds, measureIdle } from './idle.js';
import { measureLargeStart, startRounds } from './large-start.js';
import { measureManyExports } from './many-exports.js';
import type { PartName } from './options.js';
import type { Part } from './part.js';
import { measurePull } from './pull.js';
import { accountingSection } from './report/accounting-cost.js';
import { costSection } from './report/bitmap-cost.js';
import { coldReadsSection } from './report/cold-reads.js';
import { crashSection } from './report/crash.js';
import { idleSection } from './report/idle.js';
import { startSection } from './report/large-start.js';
import { manyExportsSection } from './report/many-exports.js';
import { pullSection } from './report/pull.js';
import { throughputSection } from './report/throughput.js';
import { viewSection } from './report/view-cost.js';
import { measureThroughput, throughputSeconds } from './throughput.js';
import { measureViewCost } from './view-cost.js';

/** How to measure each part, and to write its section. */
export const parts: Readonly<Record<PartName, Part>> = {
  single: casePart('single'),
  connections: casePart('connections'),
  exports: casePart('exports'),
  tls: casePart('tls'),
  idle: {
    seconds: (options) => idleRounds(options) * (IDLE_SECONDS + 8),
    async measure(run, { tmpfs }) {
      const results = await measureIdle(run, tmpfs);
      return () => idleSection(results);
    },
  },
  cold: {
    seconds: (options) => coldRounds(options) * 3 * (options.seconds + 2),
    async measure(run, { disk }) {
      const results = await measureColdReads(run, disk);
      return () => coldReadsSection(results, run.options);
    },
  },
  cost: {
    seconds: (options) => 5 + costRuns(options) * costSecondsARun(options),
    async measure(run, places) {
      const results = await measureBitmapCost(run, places);
      return (goals) => costSection(results, run.options, goals);
    },
  },
  accounting: {
    seconds: ({ rounds }) => accountingSeconds(rounds),
    async measure(run) {
      const costs = measureAccountingCost(run);
      return (goals) => accountingSection(costs, goals);
    },
  },
  crash: {
    seconds: () => 53,
    async measure(run, { disk }) {
      const results = await measureCrashes(run, disk);
      return (goals) => crashSection(results, goals);
    },
  },
  start: {
    seconds: (options) => 10 + startRounds(options) * 46,
    async measure(run, { disk, tmpfs }) {
      const large = await measureLargeStart(run, join(disk, 'large'), tmpfs);
      const many = await measureManyExports(run, join(disk, 'many'));
      return (goals) => [startSection(large, goals), manyExportsSection(many, goals)].join('\n\n');
    },
  },
  view: {
    seconds: ({ rounds, seconds }) => 60 + rounds * (26 + 6 * seconds),
    async measure(run, { tmpfs, disk }) {
      const results = await measureViewCost(run, tmpfs, disk);
      return (goals) => viewSection(results, goals);
    },
  },
  pull: {
    seconds: () => 420,
    async measure(run, { tmpfs }) {
      const results = await measurePull(run, tmpfs);
      return (goals) => pullSection(results, goals);
    },
  },
};

function casePart(name: CasePartName): Part {
  return {
    seconds: (options) => throughputSeconds(options, name),
    async measure(run, { tmpfs }) {
      const results = await measureThroughput(run, name, tmpfs);
      return (goals) => throughputSection(name, results, run.options, goals);
    },
  };
}

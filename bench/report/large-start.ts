import { formatSize, KIB, MIB } from '../../src/base/units.js';
import { BITMAPS, DISK_BYTES, type StartResult } from '../large-start.js';
import { paragraph, table } from '../markdown.js';
import { summarize } from '../statistics.js';
import { spread } from './cells.js';
import type { Goals } from './goals.js';

const GOAL_MILLISECONDS = 800;

export function startSection(results: readonly StartResult[], goals: Goals): string {
  const mebibytes = (values: readonly number[]) => spread(values.map((bytes) => bytes / MIB));
  const rows = results.map(({ cached, greetingMilliseconds, commandMilliseconds, ownBytes, residentBytes }) => [
    cached ? 'in the page cache' : 'on the disk',
    ...goals.cells(
      `start with ${formatSize(DISK_BYTES)}, ${cached ? 'cached' : 'not cached'}`,
      summarize(greetingMilliseconds).median,
      spread(greetingMilliseconds),
      cached ? { atMost: GOAL_MILLISECONDS } : undefined,
    ),
    spread(commandMilliseconds),
    mebibytes(ownBytes),
    mebibytes(residentBytes),
  ]);
  return [
    '## Starting with large bitmaps',
    paragraph(`A disk of ${formatSize(DISK_BYTES)} with ${BITMAPS} bitmaps at 64 KiB, every other granule dirty:
${formatSize((BITMAPS * DISK_BYTES) / (64 * KIB) / 8)} of bits. The times are from the start of the program until it greets a client, and until it also takes
commands. The memory is measured then: its own, and its own together with the part of the store's file that it has
mapped, which the kernel takes back when it needs it.`),
    table(
      ['the store is', 'serves (ms)', 'goal', 'takes commands (ms)', 'own memory (MiB)', 'with mapped files (MiB)'],
      rows,
    ),
  ].join('\n\n');
}

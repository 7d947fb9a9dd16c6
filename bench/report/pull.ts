import { formatSize } from '../../src/base/units.js';
import { paragraph, table } from '../markdown.js';
import type { PullResults } from '../pull.js';
import type { PullFigures } from '../pull-tools.js';
import { pairedRatio } from '../statistics.js';
import { interval, spread } from './cells.js';
import type { Goals } from './goals.js';

export function pullSection({ full, increment, kept }: PullResults, goals: Goals): string {
  const { sizeBytes, dataBytes, changedBytes } = increment;
  return [
    '## Pulling backups',
    paragraph(`A full backup of a disk of ${formatSize(full.sizeBytes)} without holes, from one tidemark, from tmpfs to tmpfs. The times are those of
whole programs; processor time is that of the program without the server. What tidemark writes has checksums, is durable,
and is checked at the end. Without \`--over-nbd\` it reads the disk itself, and reads over NBD only what is overwritten
meanwhile. The ratio is the median of the ratios of the times in each round, with its 95 % confidence interval.`),
    pullTable(full.figures, goals),
    paragraph(`The changes, ${formatSize(changedBytes)} in granules at random, on a disk of ${formatSize(sizeBytes)} with ${formatSize(dataBytes)} of data.
QEMU's tools read a qcow2 image with a persistent bitmap from qemu-nbd: qemu-img map shows what is dirty, and qemu-io
reads that through an overlay that copies on read.`),
    pullTable(increment.figures, goals),
    paragraph(`A full image of a disk of ${formatSize(kept.sizeBytes)} and two increments of ${formatSize(kept.changedBytes)}, from tmpfs to tmpfs. A restore
compares the checksums of all images while it copies. So does a prune that keeps two restore points: it merges the full
image and the first increment.`),
    pullTable(kept.figures, goals),
  ].join('\n\n');
}

function pullTable(lines: readonly PullFigures[], goals: Goals): string {
  const rows = lines.map((line) => [
    line.title,
    spread(line.seconds),
    spread(line.processorSeconds),
    line.readBytes === undefined ? '-' : formatSize(line.readBytes),
    line.writtenBytes === 0 ? '-' : formatSize(line.writtenBytes),
    ...ratioCells(line, lines, goals),
  ]);
  return table(['', 'time (s)', 'processor time (s)', 'read', 'written', 'ratio', 'goal'], rows);
}

function ratioCells({ title, seconds, rival, goal }: PullFigures, lines: readonly PullFigures[], goals: Goals) {
  const other = lines.find((line) => line.title === rival);
  if (!other) return ['-', '-'];
  const ratio = pairedRatio(seconds, other.seconds);
  return goals.cells(title, ratio.median, `${interval(ratio)} of ${other.title}`, goal);
}

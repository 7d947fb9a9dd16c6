import { formatSize } from '../../src/base/units.js';
import { paragraph, table } from '../markdown.js';
import type { PullResults } from '../pull.js';
import type { PullFigures } from '../pull-tools.js';
import { spread } from './cells.js';

export function pullSection({ full, increment }: PullResults): string {
  const { sizeBytes, dataBytes, changedBytes } = increment;
  return [
    '## Pulling backups',
    paragraph(`A full backup of a disk of ${formatSize(full.sizeBytes)} without holes, from one tidemark, from tmpfs to tmpfs. The times are those of
whole programs. What tidemark writes is durable and checked at the end. Without \`--over-nbd\` it reads the disk itself, and
reads over NBD only what is overwritten meanwhile.`),
    pullTable(full.figures),
    paragraph(`The changes, ${formatSize(changedBytes)} in granules at random, on a disk of ${formatSize(sizeBytes)} with ${formatSize(dataBytes)} of data.
QEMU's tools read a qcow2 image with a persistent bitmap from qemu-nbd: qemu-img map shows what is dirty, and qemu-io
reads that through an overlay that copies on read.`),
    pullTable(increment.figures),
  ].join('\n\n');
}

function pullTable(figures: readonly PullFigures[]): string {
  const rows = figures.map(({ title, seconds, readBytes, writtenBytes }) => [
    title,
    spread(seconds),
    readBytes === undefined ? '-' : formatSize(readBytes),
    formatSize(writtenBytes),
  ]);
  return table(['', 'time (s)', 'read', 'written'], rows);
}

import { formatSize, KIB } from '../../src/base/units.js';
import { EXPORT_BYTES, EXPORTS, type ManyExportsResult, VIEWS } from '../many-exports.js';
import { paragraph, table } from '../markdown.js';
import { summarize } from '../statistics.js';
import { spread } from './cells.js';
import type { Goal, Goals } from './goals.js';

export function manyExportsSection(result: ManyExportsResult, goals: Goals): string {
  const kibibytes = (values: readonly number[]) => values.map((bytes) => bytes / KIB);
  const line = (title: string, values: readonly number[], goal?: Goal) => [
    title,
    ...goals.cells(`${EXPORTS} exports, ${title}`, summarize(values).median, spread(values), goal),
  ];
  return [
    '## Many exports',
    paragraph(`${EXPORTS} sparse disks of ${formatSize(EXPORT_BYTES)} with two bitmaps each, served by one tidemark. A
start is measured until a client is greeted. The memory is what ${EXPORTS} exports take more than one, and what the views
of a backup of ${VIEWS} of them add. The processor time is that of the idle server.`),
    table(
      ['', '', 'goal'],
      [
        line('first start (ms)', result.firstMilliseconds, { atMost: 4000 }),
        line('start after a kill (ms)', result.killedMilliseconds, { atMost: 2000 }),
        line('start after a stop (ms)', result.stoppedMilliseconds),
        line('memory for each export (KiB)', kibibytes(result.bytesPerExport), { atMost: 100 }),
        line('memory for each open view (KiB)', kibibytes(result.bytesPerView)),
        line('processor time (ms a minute)', result.processorMillisecondsPerMinute),
      ],
    ),
  ].join('\n\n');
}

import { KIB, MIB } from '../../src/base/units.js';
import { CLIENTS, IDLE_SECONDS, type IdleResult } from '../idle.js';
import { paragraph, table } from '../markdown.js';
import { spread } from './cells.js';

export function idleSection(results: readonly IdleResult[]): string {
  const rows = results.map(({ server, bytes, bytesPerClient, processorMillisecondsPerMinute }) => [
    server,
    spread(bytes.map((value) => value / MIB)),
    spread(bytesPerClient.map((value) => value / KIB)),
    spread(processorMillisecondsPerMinute),
  ]);
  return [
    '## Doing nothing',
    paragraph(`Each server serves one export. ${CLIENTS} clients connect to it, read and write 4 KiB each, and stay
connected. The memory is that of all processes of the server, without the programs themselves, mapped files, and what the
kernel needs for sockets, threads and processes. Memory that processes share counts once. The processor time is measured for ${IDLE_SECONDS} s while the
clients are idle.`),
    table(['', 'memory (MiB)', 'for each client (KiB)', 'processor time (ms a minute)'], rows),
  ].join('\n\n');
}

import type { FuzzReport } from './fuzz-run.js';
import type { Footprint } from './subject.js';

export function formatReport(report: FuzzReport): string {
  const { messages, seconds, before, after } = report;
  const total = Object.values(messages).reduce((sum, count) => sum + count, 0);
  const byTarget = Object.entries(messages).map(([name, count]) => `${name} ${count.toLocaleString('en')}`);
  return [
    `${total.toLocaleString('en')} messages in ${(seconds / 60).toFixed(1)} minutes: ${byTarget.join(', ')}`,
    `server before: ${footprint(before)}`,
    `server after:  ${footprint(after)}`,
    `${report.probes} fresh clients were served meanwhile, the slowest in ${report.slowestProbeMilliseconds} ms`,
    `this process: ${report.ownRssMib} MiB`,
  ].join('\n');
}

function footprint({ connections, descriptors, rssMib }: Footprint): string {
  return `${connections} connections, ${descriptors} descriptors, ${rssMib} MiB`;
}

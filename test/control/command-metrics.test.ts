import { expect, test } from 'vitest';
import { controlApiOver } from '../support/control-api.js';
import { idleClient } from '../support/idle-client.js';
import { memoryRegistry } from '../support/memory-server.js';

/** The metrics of exports with these names, of which the first has a client that has read 512 bytes and failed once. */
async function scrape(...names: string[]) {
  const exports = await memoryRegistry(names.map((name) => ({ name })));
  exports.get(names[0]!).attach(idleClient({ bytesRead: 512, requests: 2, failedRequests: 1 }));
  const { ask } = await controlApiOver(exports);
  const { text } = await ask('GET', '/metrics');
  return text.split('\n');
}

test('each command has counters from the first scrape on', async () => {
  const lines = await scrape('disk');
  const commands = ['read', 'write', 'zero', 'trim', 'flush', 'cache', 'status'];
  const values = { operations: 1, operation_bytes: 512, failed_operations: 1, invalid_operations: 0 };
  for (const [name, ofRead] of Object.entries(values)) {
    const metric = `tidemark_export_${name}_total`;
    expect(lines).toContain(`# TYPE ${metric} counter`);
    for (const command of commands) {
      expect(lines).toContain(`${metric}{export="disk",command="${command}"} ${command === 'read' ? ofRead : 0}`);
    }
  }
  expect(lines).toContain('tidemark_export_invalid_operations_total{export="disk",command="other"} 0');
  expect(lines).toContain('tidemark_export_merged_operations_total{export="disk",command="flush"} 0');
  expect(lines).toContain('tidemark_export_operations_in_flight{export="disk"} 0');
  expect(lines).toContain('tidemark_export_highest_written_bytes{export="disk"} 0');
});

test('a command that was used has a histogram of its time', async () => {
  const lines = await scrape('a "b"');
  const labels = 'export="a \\"b\\"",command="read"';
  const metric = 'tidemark_export_operation_duration_seconds';
  expect(lines).toContain(`# TYPE ${metric} histogram`);
  const samples = lines.filter((line) => line.startsWith(metric));
  expect(samples).toHaveLength(17);
  expect(samples[0]).toBe(`${metric}_bucket{le="0.00005",${labels}} 0`);
  expect(samples.slice(-3)).toEqual([
    `${metric}_bucket{le="+Inf",${labels}} 0`,
    `${metric}_sum{${labels}} 0`,
    `${metric}_count{${labels}} 0`,
  ]);
});

test('of very many exports, only commands that were used have samples, and none has histograms', async () => {
  const lines = await scrape(...Array.from({ length: 51 }, (_, i) => `disk${i}`));
  const samples = lines.filter((line) => line.includes('operation') && line.includes('command='));
  const labels = '{export="disk0",command="read"}';
  expect(samples).toEqual([
    `tidemark_export_operations_total${labels} 1`,
    `tidemark_export_operation_bytes_total${labels} 512`,
    `tidemark_export_failed_operations_total${labels} 1`,
    `tidemark_export_invalid_operations_total${labels} 0`,
  ]);
});

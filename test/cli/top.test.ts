import { spawn } from 'node:child_process';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { ExportStatistics, ServerStatistics } from '../../src/api/statistics.js';
import { KIB, MIB } from '../../src/base/units.js';
import { topBetween } from '../../src/cli/top/rates.js';
import { TopScreen } from '../../src/cli/top/top-screen.js';
import { sortRows, topTable } from '../../src/cli/top/top-table.js';
import { NbdClient } from '../../src/client/nbd-client.js';
import { parseNbdUri } from '../../src/client/nbd-uri.js';
import { makeImage } from '../support/image.js';
import { outcomeOf } from '../support/run.js';
import { startTidemark, tidemarkProgram } from '../support/tidemark.js';

const START = Date.parse('2026-01-02T03:04:05Z');

/** The answer of a server that has run for so long. */
function answer(uptimeSeconds: number, exports: ExportStatistics[], startedAt = START): ServerStatistics {
  const at = new Date(startedAt + uptimeSeconds * 1000).toISOString();
  return { at, uptimeSeconds, exports, views: [], clients: [] };
}

/** An export whose clients have read so often, 4 KiB each time, and have failed at as many writes as `failed`. */
function disk(name: string, reads: number, { failed = 0, counts = [0, 0, 0] } = {}): ExportStatistics {
  const latency = { boundsSeconds: [0.001, 0.01], counts };
  const read = { operations: reads, bytes: reads * 4 * KIB, failed: 0, invalid: 0, seconds: reads / 500, latency };
  const none = { boundsSeconds: [0.001, 0.01], counts: [0, 0, 0] };
  const write = { operations: 0, bytes: 0, failed, invalid: 0, seconds: 0, latency: none };
  return { name, connections: 1, commands: { read, write }, inFlight: 0, highestOffset: 0, idleSeconds: 0 };
}

describe('rates', () => {
  test('are the difference of two answers, over the time between them', () => {
    const before = answer(10, [disk('a', 100, { counts: [100, 0, 0] })]);
    const after = answer(12, [disk('a', 300, { failed: 4, counts: [200, 100, 0] })]);
    const { seconds, rows } = topBetween(before, after, 'export');
    expect(seconds).toBe(2);
    expect(rows).toEqual([
      {
        ...{ name: 'a', connections: 1, requestsPerSecond: 102, failedPerSecond: 2 },
        ...{ readBytesPerSecond: 400 * KIB, writtenBytesPerSecond: 0, queueDepth: expect.closeTo(0.2, 6) },
        ...{ meanSeconds: expect.closeTo(0.4 / 204, 6), p50Seconds: expect.closeTo(0.001, 6) },
        p99Seconds: expect.closeTo(0.00982, 6),
      },
    ]);
  });

  test('begin again when the server was restarted, or an export of that name is another one', () => {
    const before = answer(10, [disk('a', 100), disk('b', 100)]);
    const restarted = topBetween(before, answer(4, [disk('a', 200)], START + 60_000), 'export');
    expect(restarted).toMatchObject({ seconds: 4, rows: [{ name: 'a', requestsPerSecond: 50 }] });
    const replaced = topBetween(before, answer(12, [disk('a', 20), disk('b', 100), disk('c', 30)]), 'export');
    expect(replaced.rows.map(({ requestsPerSecond }) => requestsPerSecond)).toEqual([10, 0, 15]);
  });

  test('have no times without requests, nor percentiles without histograms', () => {
    const idle = topBetween(answer(1, [disk('a', 5)]), answer(2, [disk('a', 5)]), 'export').rows[0];
    expect(idle).toMatchObject({ meanSeconds: null, p50Seconds: null, p99Seconds: null, queueDepth: 0 });
    const read = { operations: 5, bytes: 0, failed: 0, invalid: 0, seconds: 1 };
    const short = answer(2, [{ ...disk('a', 0), commands: { read } }]);
    expect(topBetween(answer(1, []), short, 'export').rows[0]).toMatchObject({ meanSeconds: 0.2, p99Seconds: null });
  });
});

describe('rows', () => {
  const { rows } = topBetween(
    answer(0, []),
    answer(1, [disk('b', 7), disk('c', 9, { counts: [9, 0, 0] }), disk('a', 7, { counts: [0, 7, 0] })]),
    'export',
  );
  const names = (sorting: Parameters<typeof sortRows>[1]) => sortRows(rows, sorting).map(({ name }) => name);

  test('are sorted by what was chosen, and by name if that is equal', () => {
    expect(names('ops')).toEqual(['c', 'a', 'b']);
    expect(names('bytes')).toEqual(['c', 'a', 'b']);
    expect(names('latency')).toEqual(['a', 'b', 'c']);
    expect(names('name')).toEqual(['a', 'b', 'c']);
  });

  test('are a table', () => {
    const lines = topTable(sortRows(rows, 'name').slice(0, 1), 'export').split('\n');
    expect(lines.map((line) => line.split(/ {2,}/))).toEqual([
      ['EXPORT', 'CLIENTS', 'OPS/S', 'READ/S', 'WRITTEN/S', 'MEAN', 'P50', 'P99', 'DEPTH', 'FAILED/S'],
      ['a', '1', '7', '28 KiB', '0 B', '2 ms', '5.5 ms', '9.91 ms', '0.0', '0'],
    ]);
  });
});

test('the screen shows the rows, is sorted by a key, ends by a key, and shows no control characters of others', () => {
  const written: string[] = [];
  let ended = 0;
  const terminal = { isTTY: true, rows: 4, write: (text: string) => written.push(text) };
  const screen = new TopScreen(terminal, 'export', 'ops', () => ended++);
  screen.enter();
  expect(written.join('')).toContain('tidemark top: measuring, sorted by ops');
  screen.show(topBetween(answer(0, []), answer(1, [disk('b\u001b[2J', 7), disk('a', 6)]), 'export'));
  expect(written.at(-1)).toContain('\r\nb\\u001b[2J ');
  expect(written.at(-1)!.split('\r\n')).toHaveLength(4);
  screen.press('s');
  screen.press('s');
  screen.press('s');
  expect(written.at(-1)).toContain('sorted by name');
  expect(written.at(-1)).toContain('\r\na ');
  screen.complain('the server is away');
  expect(written.at(-1)).toContain('tidemark top: the server is away');
  expect(ended).toBe(0);
  screen.press('q');
  expect(ended).toBe(1);
});

async function busyServer() {
  const server = await startTidemark(`vm1=${makeImage(8 * MIB)}`, `vm2=${makeImage(8 * MIB)}`);
  const client = await NbdClient.connect(parseNbdUri(server.uri('vm1')));
  let isOver = false;
  const work = (async () => {
    while (!isOver) await client.write(0, Buffer.alloc(4 * KIB, 1));
  })().catch(() => {});
  onTestFinished(async () => {
    isOver = true;
    await work;
    await client.disconnect().catch(() => {});
  });
  return server;
}

const tidemark = (...args: string[]) => outcomeOf(process.execPath, tidemarkProgram, ...args);

describe('tidemark top', () => {
  test('prints one table or one document with --once', async () => {
    const { control } = await busyServer();
    const once = ['top', '--once', '--interval', '0.3', '--control', control];
    const byExport = await tidemark(...once);
    expect(byExport).toMatchObject({ code: 0, stderr: '' });
    expect(byExport.stdout.split('\n').map((line) => line.split(' ')[0])).toEqual(['EXPORT', 'vm1', 'vm2', '']);
    const byClient = JSON.parse((await tidemark(...once, '--by', 'client', '--sort', 'latency', '--json')).stdout);
    expect(byClient.rows).toEqual([
      expect.objectContaining({ name: 'vm1', client: 'unix', p99Seconds: expect.any(Number) }),
    ]);
    const [{ requestsPerSecond, writtenBytesPerSecond, meanSeconds }] = byClient.rows;
    expect(requestsPerSecond).toBeGreaterThan(0);
    expect(writtenBytesPerSecond / requestsPerSecond).toBeCloseTo(4 * KIB, 0);
    expect(meanSeconds).toBeGreaterThan(0);
  });

  test.each([
    [['top'], 'tidemark: top needs a terminal (print one table with --once)\n'],
    [['top', '--once', '--by', 'user'], /Allowed choices are export, client/],
    [['top', '--once', '--interval', '0'], /Expected 0.1 to 3600 seconds/],
  ])('is refused: %j', async (args, message) => {
    const { code, stderr } = await tidemark(...args, '--control', 'none.sock');
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr: typeof message === 'string' ? message : expect.stringMatching(message),
    });
  });

  test('shows the table on a terminal until q', async () => {
    const { control } = await busyServer();
    const command = `${process.execPath} ${tidemarkProgram} top --interval 0.2 --control ${control}`;
    const terminal = spawn('script', ['-qefc', command, '/dev/null'], { stdio: ['pipe', 'pipe', 'inherit'] });
    let shown = '';
    terminal.stdout.on('data', (data: Buffer) => {
      shown += data.toString();
    });
    const ended = new Promise((resolve) => terminal.on('close', resolve));
    await expect.poll(() => shown).toMatch(/\nvm1 /);
    terminal.stdin.write('s');
    await expect.poll(() => shown).toContain('sorted by bytes');
    terminal.stdin.write('q');
    expect(await ended).toBe(0);
    expect(shown.startsWith('\u001b[?1049h')).toBe(true);
    expect(shown.endsWith('\u001b[?1049l')).toBe(true);
  });
});

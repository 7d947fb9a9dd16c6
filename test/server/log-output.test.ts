import { expect, test } from 'vitest';
import { EAGAIN, ENOSPC } from '../../src/base/errno.js';
import { MIB } from '../../src/base/units.js';
import { LogOutput } from '../../src/server/log-output.js';

/** An output whose reader accepts as much as the test allows. */
function outputTo(reader: { takes: (bytes: Buffer) => number }) {
  let text = '';
  const output = new LogOutput((bytes) => {
    const count = reader.takes(bytes);
    if (count > 0) text += bytes.toString('utf8', 0, count);
    return count;
  });
  return { output, lines: () => text.split('\n').filter((line) => line !== ''), text: () => text };
}

const all = (bytes: Buffer) => bytes.length;
const none = () => -EAGAIN;
const line = (i: number) => `{"i":${i},"filler":"${'x'.repeat(1000)}"}\n`;

test('lines are written at once if there is room, in pieces of any size', async () => {
  const { output, lines } = outputTo({ takes: (bytes) => Math.min(bytes.length, 7) });
  for (let i = 0; i < 3; i++) output.write(`{"i":${i}}\n`);
  expect(lines().map((written) => JSON.parse(written).i)).toEqual([0, 1, 2]);
});

test('unread lines are kept up to a limit; a note before the latest lines counts those that were dropped', async () => {
  const reader = { takes: none as (bytes: Buffer) => number };
  const { output, lines } = outputTo(reader);
  for (let i = 0; i < 3000; i++) output.write(line(i));
  reader.takes = all;
  await output.end(10_000);
  output.write('{"i":"last"}\n');
  const written = lines().map((text) => JSON.parse(text));
  const kept = written.findIndex(({ dropped }) => dropped !== undefined);
  expect(kept * line(0).length).toBeLessThanOrEqual(MIB);
  expect(written.slice(0, kept).map(({ i }) => i)).toEqual(Array.from({ length: kept }, (_, i) => i));
  const { level, dropped } = written[kept];
  expect(level).toBe(40);
  const latest = Array.from({ length: 3000 - kept - dropped }, (_, i) => kept + dropped + i);
  expect(latest.length).toBeGreaterThan(20);
  expect(written.slice(kept + 1).map(({ i }) => i)).toEqual([...latest, 'last']);
});

test('lines that do not fit on a full disk are dropped, and counted when there is room again', async () => {
  const reader = { takes: all };
  const { output, lines, text } = outputTo(reader);
  output.write(line(0));
  let calls = 0;
  // Accept the first half of a line, then nothing.
  reader.takes = (bytes) => (calls++ === 0 ? bytes.length - 500 : -ENOSPC);
  for (let i = 1; i <= 5; i++) output.write(line(i));
  reader.takes = all;
  output.write(line(6));
  expect(lines().map((written) => written.slice(0, 6))).toEqual(['{"i":0', '{"i":1', '{"leve', '{"i":6']);
  expect(text()).toContain('"dropped":5,"msg":"5 lines of the log dropped');
});

test('ending the log does not wait for a reader forever', { timeout: 20_000 }, async () => {
  const { output } = outputTo({ takes: none });
  output.write(line(0));
  await output.end(20);
});

import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { EAGAIN } from '../../src/base/errno.js';
import { type FormatLine, formatterOf } from '../../src/server/log-format.js';
import { LogOutput } from '../../src/server/log-output.js';
import { run } from '../support/run.js';
import { scratchFolder } from '../support/scratch-folder.js';

/** Controls a terminal with C0, DEL, C1 and a bidirectional override, and starts a line of its own. */
const HOSTILE = 'a\u001b[31mb\u009b2Jc\u007fd\u202ee\nf\rg';
const SHOWN = 'a\\u001b[31mb\\u009b2Jc\\u007fd\\u202ee\\nf\\rg';
/** Characters that must never reach a terminal. */
const DANGEROUS = /[\p{Cf}\p{Zl}\p{Zp}]|[^\P{Cc}\n]/u;
// biome-ignore lint/suspicious/noControlCharactersInRegex: the pattern matches escape sequences
const STYLE = /\u001b\[\d+m/;
const withoutStyles = (text: string) => text.replaceAll(new RegExp(STYLE, 'g'), '');

const plain = formatterOf('text', { isTerminal: false, noColour: false });
const coloured = formatterOf('auto', { isTerminal: true, noColour: false });

function lineOf(fields: object, format: FormatLine = plain): string {
  return format(`${JSON.stringify({ level: 30, time: Date.now(), ...fields })}\n`);
}

describe('a line for people', () => {
  test('has the time of this place, the level, the message and the facts', () => {
    const at = new Date(2026, 10, 28, 2, 3, 4, 56);
    const line = lineOf({ time: at.getTime(), client: '10.0.0.7', bytesWritten: 65_536, msg: 'connection closed' });
    expect(line).toBe('2026-11-28 02:03:04.056 INFO  connection closed  client=10.0.0.7 written="64 KiB"\n');
    expect(lineOf({ sizeBytes: 65_536, seconds: 2, msg: 'x' })).toContain(' x  size="64 KiB" seconds=2\n');
    expect(lineOf({ level: 40, msg: 'alone' })).toMatch(/ WARN {2}alone\n$/);
  });

  test('of an event leaves out its type, which the message says, and its number', () => {
    const event = { event: 'export-added', id: 7, export: 'vm1', by: 'CN=a (10.0.0.7)', msg: 'an export was added' };
    expect(lineOf(event)).toMatch(/ INFO {2}an export was added {2}export=vm1 by="CN=a \(10.0.0.7\)"\n$/);
    expect(lineOf({ id: 'abc', msg: 'made a token' })).toMatch(/ made a token {2}id=abc\n$/);
  });

  test('of an error has where it comes from beneath it; of a warning only what it says', () => {
    const err = {
      type: 'Error',
      message: 'no luck',
      stack: 'Error: no luck\n    at f (x.ts:1:2)\n    at g (y.ts:3:4)',
    };
    expect(lineOf({ level: 50, err, msg: 'a bug' })).toMatch(
      / ERROR a bug {2}err="no luck"\n {4}at f \(x.ts:1:2\)\n {4}at g \(y.ts:3:4\)\n$/,
    );
    expect(lineOf({ level: 40, err, msg: 'a fault' })).toMatch(/ WARN {2}a fault {2}err="no luck"\n$/);
  });

  test.each([
    ['a name', { export: HOSTILE }],
    ['a key', { [HOSTILE]: 1 }],
    ['a nested value', { parts: [{ export: HOSTILE }, HOSTILE] }],
    ['the message', { msg: HOSTILE }],
    ['an error', { level: 50, err: { message: HOSTILE, stack: `${HOSTILE}\n    at ${HOSTILE}\n    at x` } }],
  ])('shows control characters in %s, and sends none', (_what, fields) => {
    for (const format of [plain, coloured]) {
      const written = lineOf({ msg: 'told', ...fields }, format);
      const line = format === plain ? written : withoutStyles(written);
      expect(line).not.toMatch(DANGEROUS);
      expect(line).toContain('\\u009b2J');
      const own = line.split('\n').filter((one) => one !== '' && !one.startsWith('    at '));
      expect(own).toHaveLength(1);
    }
    expect(lineOf({ msg: 'told', export: HOSTILE })).toContain(SHOWN);
  });

  test('is in colour on a terminal only, and not with NO_COLOR', () => {
    expect(lineOf({ msg: 'x' }, coloured)).toMatch(STYLE);
    expect(lineOf({ msg: 'x' })).not.toMatch(STYLE);
    expect(lineOf({ msg: 'x' }, formatterOf('auto', { isTerminal: true, noColour: true }))).not.toMatch(STYLE);
  });

  test('is what it was if it is not JSON', () => {
    expect(plain('no JSON\n')).toBe('no JSON\n');
  });
});

test('JSON is for what is not a terminal, or for whoever wants it', () => {
  const line = '{"level":30,"msg":"x\u009b"}\n';
  for (const [format, isTerminal] of [
    ['auto', false],
    ['json', true],
  ] as const) {
    expect(formatterOf(format, { isTerminal, noColour: false })(line)).toBe('{"level":30,"msg":"x\\u009b"}\n');
  }
});

test('the note about dropped lines is a readable line too', () => {
  let text = '';
  let isFull = true;
  const output = new LogOutput((bytes) => {
    if (isFull) return -EAGAIN;
    text += bytes.toString();
    return bytes.length;
  }, plain);
  for (let i = 0; i < 2000; i++) output.write(`{"level":30,"time":0,"msg":"${'x'.repeat(1000)}"}\n`);
  isFull = false;
  return expect.poll(() => text).toMatch(/ WARN {2}\d+ lines of the log dropped, .* {2}dropped=\d+\n/);
});

test.each([
  ['', STYLE],
  ['1', undefined],
])('on a terminal the log is readable, and no escapes of others get there (NO_COLOR=%s)', async (noColour, styles) => {
  const module = resolve(import.meta.dirname, '../../dist/server/server-log.js');
  const script = join(scratchFolder(), 'log.mjs');
  writeFileSync(
    script,
    `const { openServerLog } = await import(${JSON.stringify(module)});
    const { log, end } = openServerLog({ logLevel: 'info', logFormat: 'auto', stdio: false });
    log.info({ export: ${JSON.stringify(HOSTILE)} }, 'told');
    await end();`,
  );
  // `script` runs it on a terminal of its own, which ends lines with a carriage return too.
  const command = `exec env NO_COLOR=${noColour} '${process.execPath}' '${script}'`;
  const shown = (await run('script', '-qec', command, '/dev/null')).replaceAll('\r\n', '\n');
  const [line] = shown.split('\n').filter((one) => one.includes('told'));
  expect(withoutStyles(line!)).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} INFO {2}told {2}export=/);
  expect(withoutStyles(line!)).not.toMatch(DANGEROUS);
  expect(line).toContain('\\u009b2J');
  if (styles) expect(line).toMatch(styles);
  else expect(line).not.toMatch(STYLE);
});

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join, resolve } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { printable, printableJson, printableLines, printableValue } from '../../src/base/printable.js';
import { drawMap } from '../../src/cli/map/map-drawing.js';
import { layoutMap } from '../../src/cli/map/map-layout.js';
import { type Output, writeLine, writeStyled, writeText } from '../../src/cli/output.js';
import { Progress } from '../../src/cli/progress.js';
import { OptionError } from '../../src/protocol/constants.js';
import { tidemark } from '../support/agent.js';
import { outcomeOf } from '../support/run.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { chunk, DONE, optionReply, startScriptedServer, statusChunk } from '../support/scripted-server.js';

/** Controls a terminal with C0, DEL, C1 and a bidirectional override, and starts a line of its own. */
const HOSTILE = 'a\u001b[31mb\u009b2Jc\u007fd\u202ee\nf\rg';
const SHOWN = 'a\\u001b[31mb\\u009b2Jc\\u007fd\\u202ee\\u000af\\u000dg';
/** Characters that must never reach a terminal; line breaks are checked separately. */
const DANGEROUS = /[\p{Cf}\p{Zl}\p{Zp}]|[^\P{Cc}\n]/u;

const styles = (numbers: string) => new RegExp(`\u001b\\[(${numbers})m`, 'g');

function kept() {
  const written: string[] = [];
  const output: Output = { isTTY: true, write: (text) => written.push(text) };
  return { written, output };
}

test('control characters are escaped, and printable text is unchanged', () => {
  expect(printable(HOSTILE)).toBe(SHOWN);
  expect(printable(SHOWN)).toBe(SHOWN);
  expect(printable('größer 日本 🙂 é')).toBe('größer 日本 🙂 é');
  expect(printable('\u2028\u2029\u{e0001}\ud800')).toBe('\\u2028\\u2029\\udb40\\udc01\\ud800');
  expect(printableLines('a\tb\n\u001b')).toBe('a\tb\n\\u001b');
  expect(printableValue({ [HOSTILE]: [HOSTILE, 1, null, undefined, true] })).toEqual({
    [HOSTILE]: [SHOWN, 1, null, undefined, true],
  });
});

test('escaped JSON has the same meaning and no control characters', () => {
  const value = { [HOSTILE]: `${HOSTILE}\u{e0001}\ud800` };
  const json = printableJson(JSON.stringify(value, null, 2));
  expect(json).not.toMatch(DANGEROUS);
  expect(JSON.parse(json)).toEqual(value);
});

test('every write function escapes control characters', () => {
  const { written, output } = kept();
  writeLine(output, HOSTILE);
  writeText(output, `${HOSTILE}\n`);
  writeStyled(output, `\u001b[1mname\u001b[22m ${HOSTILE.replace('\u001b[31m', '')}`);
  new Progress(output).clear();
  expect(written.join('').replaceAll(styles('1|22'), '')).not.toMatch(DANGEROUS);
  expect(written[0]).toBe(`${SHOWN}\n`);
  expect(written[2]).toContain('\u001b[1mname\u001b[22m ');
});

test('a map has its own colours and no other control sequences', () => {
  const { written, output } = kept();
  const layout = layoutMap(2 ** 20, 80);
  const survey = { name: HOSTILE, markedBytes: new Float64Array(layout.sliceCount), totalMarkedBytes: 0, runs: 0 };
  writeStyled(output, drawMap({ exportName: HOSTILE, layout, contexts: [survey] }, true));
  expect(written[0]!.replaceAll(styles('1|2|22|3[36]|39'), '')).not.toMatch(DANGEROUS);
  expect(written[0]).toContain('\u001b[1m');
  expect(written[0]!.split(SHOWN)).toHaveLength(3);
});

test('commands write only through the functions that escape', () => {
  const folder = resolve(import.meta.dirname, '../../src/cli');
  const offenders = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && file !== 'output.ts')
    .filter((file) => /\.write\(|console\.|JSON\.stringify/.test(readFileSync(join(folder, file), 'utf8')));
  // It makes JSON only for requests, which no terminal sees.
  expect(offenders).toEqual(['control-place.ts']);
});

/** A server that gives the same answer to every request. */
async function startHostileControl(status: number, answer: object): Promise<string> {
  const socket = join(scratchFolder(), 'control.sock');
  const server = createServer((_request, response) => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
  });
  onTestFinished(() => void server.close());
  await new Promise<void>((listening) => server.listen(socket, listening));
  return socket;
}

test('the export list of a hostile server is escaped, one line per export', async () => {
  const shape = { sizeBytes: 1, readOnly: false, bitmaps: [], connections: [], path: HOSTILE };
  const control = await startHostileControl(200, { exports: [{ name: HOSTILE, ...shape }] });
  const { stdout } = await tidemark('export', 'list', '--control', control);
  expect(stdout).not.toMatch(DANGEROUS);
  expect(stdout.split('\n')).toHaveLength(3);
  expect(stdout).toContain(SHOWN);
  const json = await tidemark('export', 'list', '--json', '--control', control);
  expect(json.stdout).not.toMatch(DANGEROUS);
  expect(JSON.parse(json.stdout).exports[0].name).toBe(HOSTILE);
});

test('the error of a hostile server is one line', async () => {
  const control = await startHostileControl(404, { code: 'EXPORT_NOT_FOUND', detail: HOSTILE, hint: HOSTILE });
  const { code, stderr } = await tidemark('export', 'show', 'x', '--control', control);
  expect({ code, stderr }).toEqual({ code: 1, stderr: `tidemark: ${SHOWN} (${SHOWN})\n` });
});

test('a map of a hostile server has escaped context names', async () => {
  const context = `qemu:dirty-bitmap:${HOSTILE}`;
  const target = await startScriptedServer(async (peer) => {
    await peer.greet();
    for (;;) {
      const { option } = await peer.option();
      if (option === 2) return peer.close();
      if (option === 11) {
        peer.send(optionReply(option, OptionError.UNSUP));
        continue;
      }
      const described = Buffer.concat([Buffer.from([0, 0, 0, 5]), Buffer.from(context)]);
      if (option === 9 || option === 10) peer.send(optionReply(option, 4, described));
      if (option === 7) {
        const info = Buffer.alloc(12);
        info.writeBigUInt64BE(1024n * 1024n, 2);
        info.writeUInt16BE(1, 10);
        peer.send(optionReply(option, 3, info));
      }
      peer.send(optionReply(option, 1));
      if (option === 7) break;
    }
    for (;;) {
      const { command, cookie, length } = await peer.request();
      if (command !== 7) return peer.send(chunk(cookie, DONE, 0));
      peer.send(statusChunk(cookie, DONE, 5, [[length, 1]]));
    }
  });
  const uri = `nbd+unix:///disk?socket=${(target.address as { socketPath: string }).socketPath}`;
  const drawn = await tidemark('map', uri);
  expect(drawn).toMatchObject({ code: 0, stderr: '' });
  expect(drawn.stdout).not.toMatch(DANGEROUS);
  expect(drawn.stdout).toContain(SHOWN);
  const { stdout: json } = await tidemark('map', uri, '--json');
  expect(json).not.toMatch(DANGEROUS);
  expect(JSON.parse(json).contexts[0].name).toBe(context);
});

test('verify of a hostile manifest escapes its names', async () => {
  const directory = scratchFolder();
  mkdirSync(join(directory, 'disk'));
  const sizes = { sizeBytes: 1, dirtyBytes: 1, readBytes: 1, dataBytes: 1, zeroBytes: 1, fileBytes: 1 };
  const point = { id: 'x', base: null, mode: 'full', takenAt: HOSTILE, durationSeconds: 1, ...sizes };
  const images = [{ ...point, checksum: `xxh64-sum:${'0'.repeat(16)}` }];
  writeFileSync(join(directory, 'disk/manifest.json'), JSON.stringify({ format: 3, export: HOSTILE, images }));
  const { stdout, stderr, code } = await tidemark('verify', directory);
  expect(code).toBe(1);
  expect(stdout + stderr).not.toMatch(DANGEROUS);
  expect(stdout).toContain(SHOWN);
  expect((await tidemark('verify', directory, '--json')).stdout).not.toMatch(DANGEROUS);
});

test('the log of a server escapes what clients send', async () => {
  const module = resolve(import.meta.dirname, '../../dist/server/server-log.js');
  const script = `const { openServerLog } = await import(${JSON.stringify(module)});
    const { log, end } = openServerLog({ logLevel: 'info', logFormat: 'auto', stdio: false }); log.info({ name: ${JSON.stringify(HOSTILE)} }, 'told'); await end();`;
  const { stderr } = await outcomeOf(process.execPath, '--input-type=module', '--eval', script);
  expect(stderr).not.toMatch(DANGEROUS);
  expect(JSON.parse(stderr)).toMatchObject({ name: HOSTILE, msg: 'told' });
});

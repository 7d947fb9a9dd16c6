import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, createReadStream, openSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, onTestFinished, test } from 'vitest';
import { Command } from '../../src/protocol/constants.js';
import { untilListening } from '../support/peer.js';
import { RawClient } from '../support/raw-client.js';
import { run } from '../support/run.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { tidemarkProgram } from '../support/tidemark.js';

/** Each line of the log about a client contains them. */
const BITMAPS = Array.from({ length: 8 }, (_, i) => `${i}${'n'.repeat(900)}`);
/** Their lines exceed what is kept for a reader, and what a pipe or a socket holds. */
const CLIENTS = 150;

/** Starts a server that logs a lot to `stderr`. */
async function startServer(stderr: number | Socket) {
  const folder = scratchFolder();
  const socket = join(folder, 'nbd.sock');
  const places = ['--unix', socket, '--state', join(folder, 'state'), '--transient', '--log-level', 'trace'];
  const bitmaps = BITMAPS.map((name) => `,bitmap=${name}`).join('');
  const disk = ['--export', `disk=${join(folder, 'disk.img')},size=1M${bitmaps}`];
  const server = spawn(process.execPath, [tidemarkProgram, 'serve', ...places, ...disk], {
    stdio: ['ignore', 'ignore', stderr],
  });
  const exited = once(server, 'exit');
  onTestFinished(() => void server.kill('SIGKILL'));
  await untilListening({ path: socket });
  return { server, socket, exited };
}

async function useDisk(socket: string): Promise<void> {
  const client = await RawClient.connect(socket);
  await client.go('disk', { contexts: BITMAPS.map((name) => `qemu:dirty-bitmap:${name}`) });
  client.request({ command: Command.FLUSH });
  expect(await client.structuredError()).toBe(0);
  client.request({ command: Command.DISC });
  await client.rest();
}

function expectGap(log: string): void {
  const lines = log
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(lines.some(({ dropped }) => dropped > 0)).toBe(true);
  expect(lines.at(-1)).toMatchObject({ msg: 'stopped' });
}

test('a pipe that nobody reads blocks no client, and its reader later learns how many lines are missing', async () => {
  const path = join(scratchFolder(), 'log');
  await run('mkfifo', path);
  const pipe = openSync(path, constants.O_RDWR);
  const { server, socket, exited } = await startServer(pipe);
  for (let i = 0; i < CLIENTS; i++) await useDisk(socket);
  const log = text(createReadStream(path));
  closeSync(pipe);
  server.kill();
  expect(await exited).toEqual([0, null]);
  expectGap(await log);
});

test('a socket that nobody reads, such as that of the journal, blocks no client either', async () => {
  const path = join(scratchFolder(), 'journal');
  const journal = createServer({ pauseOnConnect: true }).listen(path);
  await once(journal, 'listening');
  onTestFinished(() => void journal.close());
  const accepted = once(journal, 'connection');
  const ours = connect(path);
  const [theirs] = (await accepted) as [Socket];
  const { server, socket, exited } = await startServer(ours);
  for (let i = 0; i < CLIENTS; i++) await useDisk(socket);
  ours.destroy();
  const log = text(theirs);
  server.kill();
  expect(await exited).toEqual([0, null]);
  expectGap(await log);
});

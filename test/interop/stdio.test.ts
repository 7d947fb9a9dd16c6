import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, onTestFinished, test } from 'vitest';
import { MIB } from '../../src/base/units.js';
import { Command } from '../../src/protocol/constants.js';
import { expectSameContent, makeImage } from '../support/image.js';
import { RawClient } from '../support/raw-client.js';
import { outcomeOf, run } from '../support/run.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { tidemarkProgram } from '../support/tidemark.js';

const tidemark = [process.execPath, tidemarkProgram];

/** The command that serves the image to one client. */
function serveStdio(image: string, state: string, ...options: string[]): string[] {
  const disk = ['--export', `disk=${image},bitmap=nightly`];
  return [...tidemark, 'serve', '--stdio', ...disk, '--state', state, ...options];
}

test('libnbd starts a server for itself, which keeps what was written and what is dirty', async () => {
  const [image, state] = [makeImage(8 * MIB), join(scratchFolder(), 'state')];
  const write = [
    'h.connect_command(COMMAND)',
    'print(h.get_size())',
    'h.pwrite(b"x" * 1048576, 1048576)',
    'h.shutdown()',
  ];
  const commands = write.map((line) => line.replace('COMMAND', JSON.stringify(serveStdio(image, state))));
  expect(await run('/usr/bin/python3', '-m', 'nbd', ...commands.flatMap((command) => ['-c', command]))).toBe(
    `${8 * MIB}\n`,
  );
  const { exports } = JSON.parse(
    await run(process.execPath, tidemarkProgram, 'state', 'check', '--state', state, '--json'),
  );
  expect(exports).toMatchObject([{ name: 'disk', clean: true, bitmaps: [{ name: 'nightly', dirtyBytes: MIB }] }]);
  expect(readFileSync(image, 'utf8').slice(MIB, MIB + 4)).toBe('xxxx');
});

test("libnbd's programs start a server in square brackets, and pass it a listening socket", async () => {
  const [image, source] = [makeImage(8 * MIB), makeImage(8 * MIB, [{ offset: MIB, length: 3 * MIB }])];
  const command = ['[', ...serveStdio(image, join(scratchFolder(), 'state')), ']'];
  const { exports } = JSON.parse(await run('nbdinfo', '--json', '--', ...command));
  expect(exports[0]).toMatchObject({ 'export-size': 8 * MIB });
  await run('nbdcopy', '--', source, ...command);
  expectSameContent(image, source);
});

/** Starts a server as inetd does: all three standard streams are the client's socket, unless its log goes elsewhere. */
async function startFromInetd(logsToClient: boolean) {
  const path = join(scratchFolder(), 'inetd.sock');
  const inetd = createServer({ pauseOnConnect: true }).listen(path);
  await once(inetd, 'listening');
  onTestFinished(() => void inetd.close());
  const accepted = once(inetd, 'connection');
  const client = await RawClient.connect(path);
  const [socket] = (await accepted) as [Socket];
  const [program, ...args] = serveStdio(makeImage(MIB), join(scratchFolder(), 'state'));
  const server = spawn(program!, args, { stdio: [socket, socket, logsToClient ? socket : 'pipe'] });
  onTestFinished(() => void server.kill('SIGKILL'));
  socket.destroy();
  return { client, server, exited: once(server, 'exit') };
}

test('a server for one client exits with code 0 when the client disconnects', async () => {
  const { client, server, exited } = await startFromInetd(false);
  const log = text(server.stderr!);
  await client.go('disk');
  client.request({ command: Command.DISC });
  expect((await client.rest()).length).toBe(0);
  expect(await exited).toEqual([0, null]);
  expect(await log).toContain('"msg":"stopped"');
});

test('the log never goes to the client of inetd', async () => {
  const { client, exited } = await startFromInetd(true);
  // Each byte that the client reads is checked.
  await client.go('disk');
  client.request({ command: Command.WRITE, payload: Buffer.alloc(512, 7) });
  expect(await client.structuredError()).toBe(0);
  client.end();
  expect((await client.rest()).length).toBe(0);
  expect(await exited).toEqual([0, null]);
});

test('a signal ends such a server too', async () => {
  const { client, server, exited } = await startFromInetd(false);
  await client.go('disk');
  server.kill();
  expect(await exited).toEqual([0, null]);
});

test.each([
  ['--listen', ['--listen', '127.0.0.1:0']],
  ['--unix', ['--unix', '/nowhere/nbd.sock']],
  ['--http', ['--http', '127.0.0.1:0']],
  ['--json', ['--json']],
])('--stdio with %s is refused', async (flag, options) => {
  const { code, stderr } = await outcomeOf(
    ...(serveStdio('/nowhere', '/nowhere', ...options) as [string, ...string[]]),
  );
  expect(stderr).toContain(`tidemark: --stdio cannot be combined with ${flag} (`);
  expect(code).toBe(2);
});

test('stdin and stdout are refused if they are not a socket', async () => {
  const { code, stderr } = await outcomeOf(
    ...(serveStdio(makeImage(MIB), join(scratchFolder(), 'state')) as [string, ...string[]]),
  );
  expect(stderr).toContain('tidemark: stdin and stdout are not the same socket (start tidemark from');
  expect(code).toBe(1);
});

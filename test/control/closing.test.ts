import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { ControlServer } from '../../src/control/control-server.js';
import { ExportRegistry, type OpenExport } from '../../src/export/registry.js';
import { controlHostOver } from '../support/control-api.js';
import { idleClient } from '../support/idle-client.js';
import { memoryRegistry } from '../support/memory-server.js';
import { scratchFolder } from '../support/scratch-folder.js';

const PATIENCE_MILLISECONDS = 20;

async function startControl(openExport: OpenExport, patienceMilliseconds?: number) {
  const path = join(scratchFolder(), 'control.sock');
  const exports = new ExportRegistry(openExport);
  const host = await controlHostOver(exports);
  const control = new ControlServer(host, patienceMilliseconds);
  await control.listenUnix(path);
  onTestFinished(() => control.close());
  return { path, control, exports };
}

async function connectTo(path: string): Promise<{ socket: Socket; everything: Promise<string> }> {
  const socket = connect(path).setEncoding('utf8');
  onTestFinished(() => void socket.destroy());
  let text = '';
  socket.on('data', (part: string) => {
    text += part;
  });
  const everything = new Promise<string>((resolve) => socket.once('close', () => resolve(text)));
  await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
  return { socket, everything };
}

const body = JSON.stringify({ name: 'disk', path: 'memory' });
const post = `POST /v1/exports HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}`;

test('requests in flight are answered, and new ones are not accepted', async () => {
  const served = (await memoryRegistry([{ name: 'disk' }])).get('disk');
  let proceed = () => {};
  const held = new Promise<void>((resolve) => {
    proceed = resolve;
  });
  const openExport = vi.fn(() => held.then(() => served));
  const { path, control } = await startControl(openExport);
  const { socket, everything } = await connectTo(path);
  socket.write(`${post}\r\n\r\n${body}`);
  await expect.poll(() => openExport.mock.calls.length).toBe(1);

  const closed = control.close();
  socket.write(`${post}\r\n\r\n${body}`);
  await expect(connectTo(path)).rejects.toThrow('connect');
  proceed();
  await closed;
  const answers = (await everything).split('HTTP/1.1 ').slice(1);
  expect(answers[0]).toMatch(/^201 Created\r\n.*"name":"disk"/s);
  // The server may hang up before it reads the second request, but it never serves it.
  for (const answer of answers.slice(1)) expect(answer).toMatch(/^503 .*"code":"SHUTTING_DOWN"/s);
  expect(openExport).toHaveBeenCalledTimes(1);
});

test('the server hangs up at once on a client that sends nothing', async () => {
  const { path, control } = await startControl(() => Promise.reject(new Error('nothing to open')));
  const { everything } = await connectTo(path);
  await control.close();
  expect(await everything).toBe('');
});

test('a removal is answered, no matter how long it takes', async () => {
  const served = (await memoryRegistry([{ name: 'disk' }])).get('disk');
  const { path, control, exports } = await startControl(() => Promise.resolve(served), PATIENCE_MILLISECONDS);
  await exports.add({ name: 'disk', path: 'memory' });
  let proceed = () => {};
  const drained = new Promise<void>((resolve) => {
    proceed = resolve;
  });
  const drain = vi.fn(() => drained);
  served.attach(idleClient({ drain }));
  const { socket, everything } = await connectTo(path);
  socket.write('DELETE /v1/exports/disk?force=true HTTP/1.1\r\nhost: x\r\n\r\n');
  await expect.poll(() => drain.mock.calls.length).toBe(1);

  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  onTestFinished(() => void vi.useRealTimers());
  const closed = control.close();
  vi.advanceTimersByTime(50 * PATIENCE_MILLISECONDS);
  proceed();
  await closed;
  expect(await everything).toMatch(/^HTTP\/1\.1 204 /);
});

test('the server hangs up on a client that does not finish its request', async () => {
  const { path, control } = await startControl(
    () => Promise.reject(new Error('nothing to open')),
    PATIENCE_MILLISECONDS,
  );
  const { socket, everything } = await connectTo(path);
  await new Promise((resolve) => socket.write('DELETE /v1', resolve));
  await control.close();
  expect(await everything).toBe('');
});

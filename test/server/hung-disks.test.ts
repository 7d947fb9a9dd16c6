import { readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { SERVER_THREADS } from '../../src/base/thread-count.js';
import { Command } from '../../src/protocol/constants.js';
import { Control } from '../support/control.js';
import { startPeer } from '../support/peer.js';
import { RawClient } from '../support/raw-client.js';
import { run } from '../support/run.js';
import { type places, scratchFolder } from '../support/scratch-folder.js';
import { tidemarkProgram } from '../support/tidemark.js';

/** Part of a page is never written on the event loop, unless the image is in memory. */
const SECTOR = Buffer.alloc(512, 1);
const WRITES = 12;
const preload = resolve(import.meta.dirname, '../support/hang-writes.mjs');

/** Starts a server as `node dist/main.js`, with disks that hang on writes, and one that does not. */
async function serveHungDisks(hungDisks: number, place: keyof typeof places) {
  const folder = scratchFolder();
  const pipe = join(folder, 'pipe');
  await run('mkfifo', pipe);
  const hung = Array.from({ length: hungDisks }, (_, i) => `hung${i}`);
  const exports = [
    ...hung.map((name) => `${name}=${folder}/${name}.img,size=1M`),
    `good=${scratchFolder(place)}/good.img,size=1M`,
  ];
  const [socket, control] = [join(folder, 'nbd.sock'), join(folder, 'control.sock')];
  const variables = [`TIDEMARK_HANGS=${folder}/hung`, `TIDEMARK_PIPE=${pipe}`];
  const peer = await startPeer(
    'env',
    [
      ...['-u', 'UV_THREADPOOL_SIZE', ...variables, process.execPath, '--import', preload, tidemarkProgram, 'serve'],
      ...exports.flatMap((spec) => ['--export', spec]),
      ...['--unix', socket, '--state', join(folder, 'state'), '--control', control],
    ],
    { path: control },
  );
  // The process could not wait for its threads.
  onTestFinished(async () => void (await peer.stop('SIGKILL')));
  return { socket, hung, control: new Control(control) };
}

async function connectTo(socket: string, name: string): Promise<RawClient> {
  const client = await RawClient.connect(socket);
  onTestFinished(() => client.close());
  await client.go(name);
  return client;
}

async function writeAll(socket: string, names: readonly string[]): Promise<void> {
  for (const name of names) {
    const client = await connectTo(socket, name);
    for (let i = 0; i < WRITES; i++) client.request({ command: Command.WRITE, offset: 512, payload: SECTOR });
  }
}

test.each([
  ['one disk', 1, 'disk'],
  ['three disks', 3, 'disk'],
  ['all disks of another file system', 20, 'tmpfs'],
] as const)(
  'requests on %s that hang stop neither a flush on a disk that works nor the store',
  async (_what, count, place) => {
    const { socket, hung, control } = await serveHungDisks(count, place);
    await writeAll(socket, hung);
    const good = await connectTo(socket, 'good');
    good.request({ command: Command.FLUSH });
    expect(await good.structuredError()).toBe(0);
    good.request({ command: Command.WRITE, offset: 512, payload: SECTOR });
    expect(await good.structuredError()).toBe(0);
    await control.call('POST', '/v1/exports/good/bitmaps', { name: 'nightly' });
    expect(await control.bitmap('good', 'nightly')).toMatchObject({ persistent: true });
  },
);

test('a server has enough threads, however it is started', async () => {
  const { control } = await serveHungDisks(0, 'disk');
  const { pid } = await control.call<{ pid: number }>('GET', '/v1/server');
  expect(readdirSync(`/proc/${pid}/task`).length).toBeGreaterThan(SERVER_THREADS);
});

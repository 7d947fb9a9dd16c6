// A service manager holds the listening socket across restarts of the server. Here a shell does so, started by
// systemd-socket-activate. Clients write all the time, and reconnect when their connection breaks.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { KIB, MIB } from '../../src/base/units.js';
import { NbdClient } from '../../src/client/nbd-client.js';
import { controlOf } from '../support/control.js';
import { freePort } from '../support/free-port.js';
import { makeImage } from '../support/image.js';
import { startPeer } from '../support/peer.js';
import { Random, testSeed } from '../support/random.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { tidemarkProgram } from '../support/tidemark.js';

const DISK_BYTES = 64 * MIB;
const BLOCK_BYTES = 4 * KIB;
const WRITERS = 4;
const RESTARTS = 6;
const WRITES_BETWEEN_RESTARTS = 400;

const seed = testSeed();

/** Starts one server after another on the inherited sockets, until the file named first exists. */
const supervisor = 'stop=$1; shift; until [ -e "$stop" ]; do sh -c \'LISTEN_PID=$$ exec "$@"\' sh "$@"; done';

/** A client that writes its own blocks, each filled with a unique number. */
class Writer {
  written = 0;
  /** The numbers that each block may hold: that of the last acknowledged write, or of a later write without an answer. */
  readonly expected = new Map<number, number[]>();
  private stopped = false;

  constructor(
    private readonly uri: string,
    private readonly index: number,
    private readonly random: Random,
  ) {}

  stop(): void {
    this.stopped = true;
  }

  /** Rejects if the server could not be reached at all. */
  async run(): Promise<void> {
    while (!this.stopped) {
      try {
        await this.writeOn(await NbdClient.connect(this.uri));
      } catch (error) {
        if (String((error as Error).message).includes('ECONNREFUSED')) throw error;
      }
    }
  }

  private async writeOn(client: NbdClient): Promise<void> {
    while (!this.stopped) {
      const block = WRITERS * this.random.below(DISK_BYTES / BLOCK_BYTES / WRITERS) + this.index;
      const number = 1 + WRITERS * ++this.written + this.index;
      this.expected.set(block, [...(this.expected.get(block) ?? [0]), number]);
      await client.write(block * BLOCK_BYTES, blockOf(number));
      this.expected.set(block, [number]);
    }
    await client.disconnect();
  }
}

function blockOf(number: number): Buffer {
  const block = Buffer.alloc(BLOCK_BYTES);
  for (let at = 0; at < BLOCK_BYTES; at += 4) block.writeUInt32LE(number, at);
  return block;
}

test('restarts under load lose no acknowledged write, and refuse no client', { timeout: 120_000 }, async () => {
  const random = new Random(seed);
  const [folder, port] = [scratchFolder(), await freePort()];
  const [stop, control] = [join(folder, 'stop'), { control: join(folder, 'control.sock') }];
  const server = [
    ...[process.execPath, tidemarkProgram, 'serve', '--export', `disk=${makeImage(DISK_BYTES)},bitmap=nightly`],
    ...['--state', join(folder, 'state'), '--control', control.control, '--region-size', '1M', '--cool-after', '0'],
  ];
  await startPeer(
    'systemd-socket-activate',
    ['--listen', `127.0.0.1:${port}`, 'sh', '-c', supervisor, 'sh', stop, ...server],
    { host: '127.0.0.1', port },
  );
  const serverPid = async () => (await controlOf(control).call<{ pid: number }>('GET', '/v1/server')).pid;
  const anyServer = () => vi.waitFor(serverPid, { timeout: 60_000 });
  /** Waits for the server after `before`, which may still be stopping. */
  const serverAfter = (before: number) =>
    vi.waitFor(
      async () => {
        const pid = await serverPid();
        expect(pid).not.toBe(before);
        return pid;
      },
      { timeout: 60_000 },
    );
  onTestFinished(async () => {
    writeFileSync(stop, '');
    process.kill(await anyServer());
  });

  const uri = `nbd://127.0.0.1:${port}/disk`;
  const writers = Array.from({ length: WRITERS }, (_, i) => new Writer(uri, i, new Random(seed + i)));
  const running = Promise.all(writers.map((writer) => writer.run()));
  const written = () => writers.reduce((sum, writer) => sum + writer.written, 0);
  let pid = await anyServer();
  for (let restart = 1; restart <= RESTARTS; restart++) {
    await expect.poll(written, { timeout: 60_000 }).toBeGreaterThan(restart * WRITES_BETWEEN_RESTARTS);
    process.kill(pid, random.pick(['SIGKILL', 'SIGTERM']));
    pid = await serverAfter(pid);
  }
  for (const writer of writers) writer.stop();
  await running;

  const client = await NbdClient.connect(uri);
  const dirty = await controlOf(control).dirtyRanges('disk', 'nightly');
  const isDirty = (offset: number) =>
    dirty.some((range) => range.offset <= offset && offset < range.offset + range.length);
  for (const { expected } of writers) {
    for (const [block, numbers] of expected) {
      const found = await client.read(block * BLOCK_BYTES, BLOCK_BYTES);
      const where = `seed ${seed}, block ${block}`;
      expect(
        numbers.some((number) => found.equals(number === 0 ? Buffer.alloc(BLOCK_BYTES) : blockOf(number))),
        where,
      ).toBe(true);
      if (found[0] !== 0) expect(isDirty(block * BLOCK_BYTES), where).toBe(true);
    }
  }
  expect(dirty.length).toBeGreaterThan(0);
  await client.disconnect();
});

import { randomBytes } from 'node:crypto';
import { createServer, type Socket } from 'node:net';
import { connect, type TLSSocket } from 'node:tls';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { KIB, MIB } from '../../src/base/units.js';
import { openStream, type StreamReader } from '../../src/session/byte-stream.js';
import { Link, type LinkHost, type Phase } from '../../src/session/link.js';
import { MemoryBudget } from '../../src/session/memory-budget.js';
import { PassClock } from '../../src/session/pass-clock.js';
import { PiecePool } from '../../src/session/piece-pool.js';
import type { ReceiveBuffer } from '../../src/session/receive-buffer.js';
import { TlsDoor } from '../../src/tls/door.js';

const psk = Buffer.alloc(32, 7);

/** Both ends of a connection with TLS. The server's end is paused. */
async function securedPair(): Promise<{ client: TLSSocket; server: TLSSocket }> {
  const door = new TlsDoor({ psk: new Map([['alice', psk]]) }, 10_000);
  const listener = createServer({ pauseOnConnect: true, allowHalfOpen: true });
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  const accepted = new Promise<Socket>((resolve) => listener.once('connection', resolve));
  const client = connect({
    host: '127.0.0.1',
    port: (listener.address() as { port: number }).port,
    checkServerIdentity: () => undefined,
    ciphers: 'TLS_AES_128_GCM_SHA256:PSK',
    pskCallback: () => ({ identity: 'alice', psk }),
  });
  const outcome = await door.admit(await accepted);
  if ('refused' in outcome) throw new Error(outcome.refused);
  onTestFinished(() => {
    client.destroy();
    outcome.socket.destroy();
    listener.close();
  });
  return { client, server: outcome.socket };
}

/** Notes what it receives, in rooms of a size that divides no record. */
class NotingReader implements StreamReader {
  readonly calls: { readonly count: number; readonly more: boolean }[] = [];
  hasEnded = false;
  isFull = false;
  private readonly parts: Buffer[] = [];
  private current = Buffer.alloc(0);

  room(): Buffer {
    this.current = Buffer.alloc(10_007);
    return this.current;
  }

  received(count: number, more = false): boolean {
    this.calls.push({ count, more });
    this.parts.push(this.current.subarray(0, count));
    return !this.isFull;
  }

  ended(): void {
    this.hasEnded = true;
  }

  get bytes(): Buffer {
    return Buffer.concat(this.parts);
  }
}

describe.each([
  { way: 'into the room of its reader', dataListeners: 0 },
  { way: "by 'data' events where Node has no such option", dataListeners: 1 },
])('a stream with TLS that is read $way', ({ dataListeners }) => {
  async function reading(before?: (ends: { client: TLSSocket; server: TLSSocket }) => Promise<void>) {
    const { client, server } = await securedPair();
    await before?.({ client, server });
    const { _handle: handle } = server as unknown as { _handle: object };
    if (dataListeners > 0) Object.assign(handle, { useUserBuffer: undefined });
    const reader = new NotingReader();
    openStream({ secured: server }, reader);
    expect(server.listenerCount('data')).toBe(dataListeners);
    return { client, server, reader };
  }

  test('gives every byte in order, and then its end', async () => {
    const { client, reader } = await reading();
    const sent = randomBytes(MIB + 1);
    client.end(sent);
    await expect.poll(() => reader.hasEnded).toBe(true);
    expect(reader.bytes.equals(sent)).toBe(true);
  });

  test('says when no more follows at once', async () => {
    const { client, reader } = await reading();
    client.write('one record');
    await expect
      .poll(() => reader.calls)
      .toEqual([
        { count: 10, more: true },
        { count: 0, more: false },
      ]);
  });

  test('passes on at most 256 KiB before it does so', async () => {
    const { client, reader } = await reading();
    client.end(Buffer.alloc(2 * MIB));
    await expect.poll(() => reader.hasEnded).toBe(true);
    let gathered = 0;
    for (const { count, more } of reader.calls) {
      gathered = more ? gathered + count : 0;
      expect(gathered).toBeLessThan(256 * KIB);
    }
  });

  test('gives first what was decrypted before anybody read', async () => {
    const { client, reader } = await reading(async ({ client, server }) => {
      client.write('early ');
      server.read(0);
      await expect.poll(() => server.readableLength).toBe(6);
    });
    client.write('late');
    await expect.poll(() => reader.bytes.toString()).toBe('early late');
  });

  test('pauses while its reader is full', async () => {
    const { client, server, reader } = await reading();
    reader.isFull = true;
    const sent = randomBytes(8 * MIB);
    client.end(sent);
    await expect.poll(() => server.isPaused()).toBe(true);
    const received = reader.bytes.length;
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(reader.bytes.length).toBe(received);
    reader.isFull = false;
    server.resume();
    await expect.poll(() => reader.hasEnded).toBe(true);
    expect(reader.bytes.equals(sent)).toBe(true);
  });
});

test('with TLS, the rest of a message is not polled for', async () => {
  const { client, server } = await securedPair();
  const served = vi.fn();
  const host = {
    ...{ pool: new PiecePool(), memory: new MemoryBudget(MIB) },
    busyPoller: { arrived() {}, served },
    clock: new PassClock(),
  } as unknown as LinkHost;
  const link = new Link({ secured: server }, host, 1);
  /** Its messages have ten bytes. */
  const consume = vi.fn((input: ReceiveBuffer) => {
    if (input.has(10)) input.consume(10);
  });
  link.enter({ consume, canBegin: true, lacksMemory: false, idle: true, closeReason: undefined } satisfies Phase);
  client.write('half ');
  await expect.poll(() => consume.mock.calls.length).toBe(1);
  expect(served).not.toHaveBeenCalled();
  client.write('whole');
  await expect.poll(() => served.mock.calls).toEqual([[false]]);
});

import { randomFillSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import type { BackupService } from '../../src/agent/backup-service.js';
import { LastingClient, type LastingOptions } from '../../src/agent/lasting-client.js';
import { type PullRequest, pull } from '../../src/agent/pull.js';
import { restore } from '../../src/agent/restore.js';
import { UriBackupService } from '../../src/agent/uri-backup-service.js';
import { EIO } from '../../src/base/errno.js';
import { BASE_ALLOCATION } from '../../src/base/metadata-contexts.js';
import { KIB, MIB } from '../../src/base/units.js';
import { NbdConnectionError } from '../../src/client/errors.js';
import { NbdClient } from '../../src/client/nbd-client.js';
import { frailLink } from '../support/frail-link.js';
import { MemoryDevice } from '../support/memory-device.js';
import { startMemoryServer } from '../support/memory-server.js';
import { startNbdkit } from '../support/nbd-peers.js';
import { quiet } from '../support/pull-scene.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { ScriptedBackups } from '../support/scripted-backups.js';
import { TestAuthority } from '../support/tls-files.js';

const uriOf = (path: string) => `nbd+unix:///disk?socket=${path}`;

/** A disk of random data behind a link that can be cut. */
async function scene(sizeBytes = 4 * MIB) {
  const device = new MemoryDevice(sizeBytes);
  const content = randomFillSync(Buffer.alloc(sizeBytes));
  device.writeNow(content, 0, content.length, 0);
  const server = await startMemoryServer([{ name: 'disk', device, bitmaps: ['nightly'] }]);
  const link = await frailLink(server.path);
  return { device, content, server, link, uri: uriOf(link.path) };
}

const lasting = (change: Partial<LastingOptions> = {}): LastingOptions => ({
  mayReconnect: () => true,
  signal: new AbortController().signal,
  contexts: [BASE_ALLOCATION],
  ...change,
});

describe('a client that lasts', () => {
  test('repeats its requests on a new connection, and says so once', async () => {
    const { content, link, uri } = await scene();
    const news: string[] = [];
    const lost = ({ message }: Error) => {
      news.push(message);
      link.cutAfter(Number.POSITIVE_INFINITY);
    };
    const client = await LastingClient.connect(uri, lasting({ observer: { lost, back: () => news.push('back') } }));
    link.cutAfter(MIB);
    const reads = Array.from({ length: 8 }, (_, i) => client.read(i * 256 * KIB, 256 * KIB));
    expect(Buffer.concat(await Promise.all(reads)).equals(content.subarray(0, 2 * MIB))).toBe(true);
    expect(news).toEqual([expect.stringMatching(/closed the connection|ECONNRESET/), 'back']);
    link.cut();
    expect((await client.blockStatus(0, MIB)).get(BASE_ALLOCATION)?.totalBytes).toBeGreaterThan(0);
    await client.disconnect();
    expect(link.connections).toBe(3);
  });

  test('waits for a server that is away', async () => {
    const { content, link, uri } = await scene();
    const client = await LastingClient.connect(uri, lasting());
    link.isUp = false;
    link.cut();
    const reading = client.read(0, 4096);
    await delay(1200);
    link.isUp = true;
    expect((await reading).equals(content.subarray(0, 4096))).toBe(true);
    await client.disconnect();
  });

  test('gives up when its user does', async () => {
    const { link, uri } = await scene();
    const controller = new AbortController();
    const client = await LastingClient.connect(uri, lasting({ signal: controller.signal }));
    link.isUp = false;
    link.cut();
    const reading = client.read(0, 4096);
    setTimeout(() => controller.abort(), 100);
    await expect(reading).rejects.toThrow(NbdConnectionError);
    client.abort();
  });

  test('does not read on when the disk may have changed', async () => {
    const { link, uri } = await scene();
    const client = await LastingClient.connect(uri, lasting({ mayReconnect: () => false }));
    link.cut();
    await expect(client.read(0, 4096)).rejects.toThrow(NbdConnectionError);
    expect(link.connections).toBe(1);
    client.abort();
  });

  test('does not read on when the export is gone', async () => {
    const { link, uri, server } = await scene();
    const client = await LastingClient.connect(uri, lasting());
    await server.exports.remove('disk');
    link.cut();
    await expect(client.read(0, 4096)).rejects.toThrow(/refused the export "disk": UNKNOWN/);
    await expect(client.read(0, 4096)).rejects.toThrow(/UNKNOWN/);
    client.abort();
  });

  test.each([
    ['another size', { device: new MemoryDevice(8 * MIB) }],
    ['another block size', { minBlockBytes: 4096 as const }],
    ['other features', { readOnly: true }],
  ])('does not read on when the export comes back with %s', async (_, change) => {
    const { link, uri } = await scene();
    const client = await LastingClient.connect(uri, lasting());
    link.lead((await startMemoryServer([{ name: 'disk', bitmaps: ['nightly'], ...change }])).path);
    link.cut();
    await expect(client.read(0, 4096)).rejects.toThrow(/has another size or offers other things/);
    client.abort();
  });

  test('stops repeating a request that ends every connection', async () => {
    const { link, uri } = await scene();
    const client = await LastingClient.connect(uri, { ...lasting(), pauseMilliseconds: 1 });
    link.cutAfter(64 * KIB);
    await expect(client.read(0, MIB)).rejects.toThrow(NbdConnectionError);
    expect(link.connections).toBe(10);
    client.abort();
  });
});

test('a client that lasts connects again over TLS', async () => {
  const authority = await TestAuthority.create();
  const tls = ['--tls=require', `--tls-certificates=${await authority.serverFolder()}`, '--tls-verify-peer'];
  const nbdkit = await startNbdkit(...tls, 'pattern', '16M');
  const link = await frailLink(nbdkit.slice(nbdkit.indexOf('=') + 1));
  const certificates = await authority.clientFolder('CN=backup1');
  const uri = `nbds+unix:///?socket=${link.path}&tls-certificates=${certificates}`;
  const client = await LastingClient.connect(uri, lasting({ pauseMilliseconds: 20 }));
  // Cut at many places: in the handshake of TLS, between replies, and within them.
  for (const bytes of [300, 2000, 40_000, 700_001, 1_500_000]) {
    link.cutAfter(bytes);
    link.cut();
    const reads = Array.from({ length: 16 }, (_, i) => client.read(i * MIB, MIB));
    setTimeout(() => link.cutAfter(Number.POSITIVE_INFINITY), 200);
    for (const [i, data] of (await Promise.all(reads)).entries()) {
      const offsets = Array.from({ length: 4 }, (_, at) => Number(data.readBigUInt64BE(at * 256 * KIB)));
      expect(offsets).toEqual(offsets.map((_, at) => i * MIB + at * 256 * KIB));
    }
  }
  await client.disconnect();
  expect(link.connections).toBeGreaterThan(5);
});

/** Pulls the disk to a directory, and returns the notes. */
async function pullTo(directory: string, service: BackupService, connections = 3): Promise<string[]> {
  const notes: string[] = [];
  const request: PullRequest = {
    exports: ['disk'],
    bitmap: 'nightly',
    directory,
    full: false,
    connections,
    bytesPerSecond: undefined,
    signal: new AbortController().signal,
    observer: { note: (_, text) => notes.push(text), progress: () => {} },
  };
  await pull(request, service);
  return notes;
}

async function restored(directory: string): Promise<Buffer> {
  const to = join(scratchFolder(), 'restored.img');
  await restore({ directory, exportName: 'disk', at: undefined, to, force: false, check: true, ...quiet });
  return readFileSync(to);
}

describe('a pull whose connections are lost', () => {
  test('keeps what was read in threads, and reads the rest', async () => {
    const { content, link, uri } = await scene(64 * MIB);
    const directory = scratchFolder();
    link.cutAfter(12 * MIB);
    const notes = await pullTo(directory, new ScriptedBackups(() => uri));
    expect((await restored(directory)).equals(content)).toBe(true);
    expect(notes).toContainEqual(expect.stringMatching(/lost; trying again for up to 5 minutes$/));
    expect(notes.at(-1)).toBe('connected again');
    // At most what was in flight at each loss is read again.
    expect(link.bytes).toBeLessThan(2 * content.length);
  });

  test('keeps what was read on the event loop, and reads the rest', async () => {
    const { content, link, uri, server } = await scene(32 * MIB);
    const [directory, service] = [scratchFolder(), new ScriptedBackups(() => uri)];
    await pullTo(directory, service);
    const writer = await NbdClient.connect(uriOf(server.path));
    for (let at = 0; at < content.length; at += MIB)
      await writer.write(at, randomFillSync(content.subarray(at, at + MIB)));
    await writer.disconnect();
    const before = link.bytes;
    link.cutAfter(12 * MIB);
    // An increment with one connection has none for a thread.
    const notes = await pullTo(directory, service, 1);
    expect((await restored(directory)).equals(content)).toBe(true);
    expect(notes.map((note) => note.replace(/^.*; /, ''))).toEqual(
      Array(2).fill(['trying again for up to 5 minutes', 'connected again']).flat(),
    );
    expect(link.bytes - before).toBeLessThan(2 * content.length);
  });

  test('fails when it reads a plain export, which may change meanwhile', async () => {
    const { link, uri } = await scene(64 * MIB);
    link.cutAfter(12 * MIB);
    const service = new UriBackupService({ uri, context: undefined, since: undefined });
    await expect(pullTo(scratchFolder(), service)).rejects.toThrow(/closed the connection|ECONNRESET|EPIPE/);
  });
});

/** A disk that loses what was not flushed, as one behind a write cache does when its server restarts. */
function forgetfulDisk(sizeBytes: number) {
  const disk = new MemoryDevice(sizeBytes);
  let durable = Buffer.alloc(sizeBytes);
  const content = () => {
    const now = Buffer.alloc(sizeBytes);
    disk.readNow(now, 0, sizeBytes, 0);
    return now;
  };
  let flushes = 0;
  Object.assign(disk, {
    flush: async () => {
      flushes++;
      durable = content();
      return 0;
    },
  });
  return { disk, content, flushes: () => flushes, forget: () => void disk.writeNow(durable, 0, sizeBytes, 0) };
}

describe('a restore to an NBD server whose connection is lost', () => {
  test('writes again what the server may have lost, and goes on', async () => {
    const sizeBytes = 100 * MIB;
    const { content, uri } = await scene(sizeBytes);
    content.fill(0, 20 * MIB, 24 * MIB);
    const { directory } = await pulled(uri, content);
    const target = forgetfulDisk(sizeBytes);
    target.disk.writeNow(Buffer.alloc(sizeBytes, 0xee), 0, sizeBytes, 0);
    await target.disk.flush();
    const server = await startMemoryServer([{ name: 'disk', device: target.disk }]);
    const link = await frailLink(server.path);
    const notes: string[] = [];
    const cutAt = [10 * MIB, 70 * MIB, 90 * MIB];
    await restore({
      ...{ directory, exportName: 'disk', at: undefined, to: uriOf(link.path), force: false, check: true },
      signal: new AbortController().signal,
      onNote: (text) => notes.push(text),
      onProgress(doneBytes) {
        if (doneBytes < (cutAt[0] ?? Number.POSITIVE_INFINITY)) return;
        cutAt.shift();
        link.cut();
        target.forget();
      },
    });
    expect(notes.filter((note) => note === 'connected again')).toHaveLength(3);
    // Whatever was not flushed at the end would be lost here.
    target.forget();
    expect(target.content().equals(content)).toBe(true);
    expect(target.flushes()).toBeGreaterThan(2);
  });

  test('fails if a flush failed, even if a later one would not', async () => {
    const { content, uri } = await scene(80 * MIB);
    const { directory } = await pulled(uri, content);
    const target = forgetfulDisk(80 * MIB);
    const { flush } = target.disk;
    let failures = 1;
    Object.assign(target.disk, { flush: async () => (failures-- > 0 ? EIO : await flush()) });
    const server = await startMemoryServer([{ name: 'disk', device: target.disk }]);
    const request = { directory, exportName: 'disk', at: undefined, force: false, check: true, ...quiet };
    await expect(restore({ ...request, to: uriOf(server.path) })).rejects.toThrow(/EIO/);
  });
});

/** A backup of the disk, whose content is set first. */
async function pulled(uri: string, content: Buffer) {
  const writer = await NbdClient.connect(uri);
  for (let at = 0; at < content.length; at += 16 * MIB) await writer.write(at, content.subarray(at, at + 16 * MIB));
  await writer.disconnect();
  const directory = scratchFolder();
  await pullTo(directory, new ScriptedBackups(() => uri));
  return { directory };
}

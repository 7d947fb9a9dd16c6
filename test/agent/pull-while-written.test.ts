import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test, vi } from 'vitest';
import type { Backup, BackupPart, BackupService } from '../../src/agent/backup-service.js';
import { LiveDisk } from '../../src/agent/live-disk.js';
import { pull } from '../../src/agent/pull.js';
import { restore } from '../../src/agent/restore.js';
import { KIB, MIB } from '../../src/base/units.js';
import { ControlClient } from '../../src/cli/control-client.js';
import { unixPlace } from '../../src/cli/control-place.js';
import { HttpBackupService } from '../../src/cli/http-backup-service.js';
import { NbdClient } from '../../src/client/nbd-client.js';
import { makeImage } from '../support/image.js';
import { quiet } from '../support/pull-scene.js';
import { Random, testSeed } from '../support/random.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { startTidemark, type Tidemark } from '../support/tidemark.js';

/** Not a multiple of clusters. */
const DISK_BYTES = 64 * MIB + 5 * 512;
const ROUNDS = 6;
const DEPTH = 8;

/** Reads the whole view of each backup before it is committed. */
class WatchedService extends HttpBackupService {
  view: Buffer | undefined;
  private backup: Backup | undefined;

  constructor(
    server: Tidemark,
    private readonly change: (part: BackupPart) => BackupPart = (part) => part,
  ) {
    super(new ControlClient(unixPlace(server.control)), new AbortController().signal);
  }

  override async begin(request: Parameters<BackupService['begin']>[0]): Promise<Backup> {
    const backup = await super.begin(request);
    this.backup = { ...backup, exports: backup.exports.map(this.change) };
    return this.backup;
  }

  override async commit(...args: Parameters<BackupService['commit']>): Promise<void> {
    this.view = await readAll(this.backup!.exports[0]!.uri);
    await super.commit(...args);
  }
}

async function readAll(uri: string): Promise<Buffer> {
  const client = await NbdClient.connect(uri);
  const content = Buffer.alloc(client.sizeBytes);
  for (let at = 0; at < content.length; at += MIB) {
    await client.read(at, Math.min(MIB, content.length - at), content.subarray(at));
  }
  await client.disconnect();
  return content;
}

/** Writes, zeroes and trims at random on the disk. Returns a function that stops it. */
async function startWriting(uri: string, random: Random): Promise<() => Promise<void>> {
  const client = await NbdClient.connect(uri);
  let running = true;
  const work = async () => {
    while (running) {
      const length = 512 * (1 + random.below(random.chance(20) ? 2048 : 64));
      const offset = 512 * random.below((DISK_BYTES - length) / 512);
      const kind = random.below(8);
      if (kind === 0) await client.zero(offset, length);
      else if (kind === 1) await client.trim(offset, length);
      else await client.write(offset, Buffer.alloc(length, 1 + random.below(255)));
      await nextTurn();
    }
  };
  const workers = Array.from({ length: DEPTH }, work);
  return async () => {
    running = false;
    await Promise.all(workers);
    await client.disconnect();
  };
}

function requestFor(directory: string, full: boolean) {
  return {
    ...{ exports: ['disk'], bitmap: 'nightly', directory, full, connections: 2, bytesPerSecond: undefined },
    signal: new AbortController().signal,
    observer: { note: () => {}, progress: () => {} },
  };
}

async function restored(directory: string): Promise<Buffer> {
  const to = join(scratchFolder(), 'restored.img');
  await restore({ directory, exportName: 'disk', at: undefined, to, force: false, check: true, ...quiet });
  return readFile(to);
}

/** Counts the queries to a live disk, and the answers that report overwritten data. */
function watchQuestions(): { asked: number; overwritten: number } {
  const counts = { asked: 0, overwritten: 0 };
  const { overwritten } = LiveDisk.prototype;
  const spy = vi.spyOn(LiveDisk.prototype, 'overwritten');
  spy.mockImplementation(async function* (this: LiveDisk, offset, length) {
    counts.asked++;
    for await (const extent of overwritten.call(this, offset, length)) {
      counts.overwritten++;
      yield extent;
    }
  });
  return counts;
}

test('images of a disk that is being written to equal its views', async () => {
  const seed = testSeed();
  const random = new Random(seed);
  const counts = watchQuestions();
  const data = [
    { offset: 0, length: 20 * MIB },
    { offset: 30 * MIB + 4 * KIB, length: 30 * MIB },
  ];
  // An image in memory cannot be cloned, so the server says where the live disk is.
  const image = makeImage(DISK_BYTES, data, scratchFolder('tmpfs'));
  const server = await startTidemark(`disk=${image},bitmap=nightly`);
  const directory = scratchFolder();
  const stop = await startWriting(server.uri('disk'), random);
  for (let round = 0; round < ROUNDS; round++) {
    const service = new WatchedService(server);
    await pull(requestFor(directory, round % 2 === 0), service);
    expect((await restored(directory)).equals(service.view!), `round ${round}, seed ${seed}`).toBe(true);
  }
  await stop();
  expect(counts.asked).toBeGreaterThan(0);
  expect(counts.overwritten).toBeGreaterThan(0);
});

test.each<[string, (part: BackupPart) => BackupPart]>([
  ['is another one', (part) => ({ ...part, disk: { ...part.disk!, id: '1:2' } })],
  ['is on another machine', (part) => ({ ...part, disk: { ...part.disk!, bootId: 'another' } })],
  ['is not there', (part) => ({ ...part, disk: { ...part.disk!, path: '/nowhere/disk.img' } })],
  ['is not told', ({ disk: _, ...part }) => part],
])('a disk that %s is read from the view', async (_, change) => {
  const counts = watchQuestions();
  const image = makeImage(DISK_BYTES, [{ offset: MIB, length: 4 * MIB }], scratchFolder('tmpfs'));
  const server = await startTidemark(`disk=${image},bitmap=nightly`);
  const directory = scratchFolder();
  const service = new WatchedService(server, change);
  await pull(requestFor(directory, true), service);
  expect((await restored(directory)).equals(await readFile(image))).toBe(true);
  expect(counts.asked).toBe(0);
});

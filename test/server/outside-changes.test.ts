import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { ExportSpec } from '../../src/api/export.js';
import { type Errno, WOULD_BLOCK } from '../../src/base/errno.js';
import { silentLog } from '../../src/base/log.js';
import { KIB, MIB } from '../../src/base/units.js';
import { exportKey } from '../../src/bitmap/store/keys.js';
import type { StoredExport } from '../../src/bitmap/store/left-disk.js';
import { changeAtOneInstant } from '../../src/export/cut.js';
import { RemoteDevice } from '../../src/export/elsewhere/remote-device.js';
import type { Export } from '../../src/export/export.js';
import type { Posix } from '../../src/posix/posix-calls.js';
import { DiskClaims } from '../../src/server/disk-claims.js';
import { openExport } from '../../src/server/open-export.js';
import { createImage } from '../../src/storage/image/create-image.js';
import { exportHost } from '../support/export-host.js';
import { insideOf, kill } from '../support/inside.js';
import { attachLoop } from '../support/loop-device.js';
import { MemoryStore } from '../support/memory-store.js';
import { Random, testSeed } from '../support/random.js';
import { native } from '../support/scratch-device.js';
import { scratchFolder } from '../support/scratch-folder.js';

const REASON = 'another program changed the disk while it was served';

/** How a disk is accessed whose data is in `file`. */
const paths = {
  file: (file: string) => file,
  'block device': (file: string) => attachLoop(file),
  partition: (file: string) => partition(attachLoop(file), 1),
  'block device with large blocks': (file: string) => attachLoop(file, '--sector-size', `${64 * KIB}`),
};

async function scene(kind: keyof typeof paths = 'file', claims?: DiskClaims, posix?: Posix) {
  const file = join(scratchFolder(), 'disk.img');
  await createImage(file, kind === 'partition' ? 8 * MIB : 4 * MIB);
  const path = paths[kind](file);
  const store = new MemoryStore();
  const host = { ...exportHost(store, claims), ...(posix && { posix }) };
  const open = async (change: Partial<ExportSpec> = {}) => {
    const served = await openExport({ name: 'disk', path, bitmaps: [{ name: 'nightly' }], ...change }, host);
    onTestFinished(() => kill(served));
    return served;
  };
  const inconsistency = async () => {
    const served = await open();
    await served.close();
    return served.getBitmap('nightly').inconsistent;
  };
  return { file, path, store, open, inconsistency };
}

/** The first or the second 4 MiB of a device. */
function partition(device: string, number: 1 | 2): string {
  const first = ((number - 1) * 4 * MIB) / 512;
  execFileSync('addpart', [device, `${number}`, `${first}`, `${(4 * MIB) / 512}`]);
  onTestFinished(() => void execFileSync('delpart', [device, `${number}`]));
  return `${device}p${number}`;
}

/** Writes as a program that ignores locks. */
function overwrite(path: string): void {
  const fd = openSync(path, 'r+');
  writeSync(fd, Buffer.alloc(512, 7), 0, 512, 2 * MIB);
  fsyncSync(fd);
  closeSync(fd);
}

/** Returns once a write would give the file another time. The kernel's clock for that moves on every few milliseconds. */
function untilTimesMoveOn(file: string): void {
  const { mtimeNs } = statSync(file, { bigint: true });
  const probe = `${file}.probe`;
  do writeFileSync(probe, '');
  while (statSync(probe, { bigint: true }).mtimeNs <= mtimeNs);
}

async function write(served: Export): Promise<void> {
  expect(await served.device.write(Buffer.alloc(4 * KIB, 7), 0, 4 * KIB, MIB)).toBe(0);
}

/** Another thread that writes whole pages to the disk, without asking where it may. Other writes it has to ask for. */
class Elsewhere {
  static writes = 0;
  private readonly device: RemoteDevice;

  constructor(private readonly served: Export) {
    const { disk: shared } = served.share(2)!;
    const ask = async (): Promise<never> => expect.fail('this thread asks nobody');
    this.device = new RemoteDevice({
      capabilities: served.capabilities,
      sizeBytes: served.sizeBytes,
      shared,
      slot: 1,
      posix: native,
      log: silentLog,
      ask,
    });
  }

  async write(offset: number, length: number): Promise<Errno> {
    const data = Buffer.alloc(length, 7);
    const errno = this.device.writeNow(data, 0, length, offset);
    if (errno !== WOULD_BLOCK) {
      Elsewhere.writes++;
      return errno;
    }
    const { device } = this.served;
    const own = device.writeNow(data, 0, length, offset);
    return own === WOULD_BLOCK ? device.write(data, 0, length, offset) : own;
  }
}

/** Any change that a client can ask for, at any alignment, or what the server does by itself. */
async function changeSomehow(served: Export, random: Random, elsewhere: Elsewhere): Promise<void> {
  const offset = random.below(3 * MIB);
  const length = 1 + random.below(random.pick([512, 8 * KIB, MIB]));
  const { device } = served;
  const ways = [
    () => device.write(Buffer.alloc(length, 7), 0, length, offset),
    () => elsewhere.write(random.below(8) * 4 * KIB, 4 * KIB * (1 + random.below(2))),
    () => elsewhere.write(random.below(8) * 4 * KIB, 4 * KIB * (1 + random.below(2))),
    () => device.zero(offset, length, { keepAllocated: random.chance(2), fastOnly: false }),
    () => device.trim(offset, length),
    () => device.flush(),
    () => insideOf(served).persistence!.tick(),
  ];
  expect(await random.pick(ways)()).toBe(0);
}

/** Advances the clock until the store describes the current state of the disk. */
async function comeToRest(served: Export): Promise<void> {
  const watched = async () => {
    await served.tick();
    return insideOf(served).persistence!.watched;
  };
  await expect.poll(watched).toBe('at rest');
}

describe.each(['file', 'block device', 'partition'] as const)('a %s', (kind) => {
  test('that is written after a crash is noticed, if the server wrote nothing just before the crash', async () => {
    const { path, open, inconsistency } = await scene(kind);
    const served = await open();
    await write(served);
    await comeToRest(served);
    await kill(served);
    overwrite(path);
    expect(await inconsistency()).toMatch(/^(modified at|written while not served)/);
  });

  test('that nobody else writes keeps its bitmaps across a crash, whether at rest or not', async () => {
    const { open, inconsistency } = await scene(kind);
    const served = await open();
    await write(served);
    await comeToRest(served);
    await kill(served);
    expect(await inconsistency()).toBeUndefined();
    const again = await open();
    await write(again);
    await kill(again);
    expect(await inconsistency()).toBeUndefined();
  });

  test('that is written while it is served is noticed when a backup begins', async () => {
    const { path, open } = await scene(kind);
    const served = await open();
    await write(served);
    await comeToRest(served);
    await served.noticeOutsideChanges();
    expect(served.getBitmap('nightly').inconsistent).toBeUndefined();
    overwrite(path);
    await served.noticeOutsideChanges();
    expect(served.getBitmap('nightly').inconsistent).toBe(REASON);
  });

  test('that is written while it is served at rest is noticed at the next write, and at a clean close', async () => {
    const { path, open } = await scene(kind);
    const served = await open();
    overwrite(path);
    await write(served);
    expect(served.getBitmap('nightly').inconsistent).toBe(REASON);
    await served.close();
    const again = await scene(kind);
    const other = await again.open();
    overwrite(again.path);
    await other.close();
    expect(await again.inconsistency()).toBe(REASON);
  });

  test('that is written while it is served at rest is noticed when it gets another size', async () => {
    const { path, open, inconsistency } = await scene(kind);
    const served = await open();
    overwrite(path);
    await served.resize(3 * MIB);
    expect(served.getBitmap('nightly').inconsistent).toBe(REASON);
    await served.close();
    const again = await scene(kind);
    const other = await again.open();
    await write(other);
    await other.resize(3 * MIB);
    await write(other);
    await other.close();
    expect([await inconsistency(), await again.inconsistency()]).toEqual([REASON, undefined]);
  });

  test('that is written while it is served read-only is noticed when a backup begins, before the kernel has written it back', async () => {
    const { path, open } = await scene(kind);
    await (await open()).close();
    const served = await open({ readOnly: true });
    await served.noticeOutsideChanges();
    expect(served.getBitmap('nightly').inconsistent).toBeUndefined();
    const fd = openSync(path, 'r+');
    onTestFinished(() => closeSync(fd));
    writeSync(fd, Buffer.alloc(512, 7), 0, 512, 2 * MIB);
    await served.noticeOutsideChanges();
    expect(served.getBitmap('nightly').inconsistent).toBe(`${REASON} read-only`);
  });

  test('that is written while it is not served is noticed', async () => {
    const { path, open, inconsistency } = await scene(kind);
    const served = await open();
    await write(served);
    await served.close();
    expect(await inconsistency()).toBeUndefined();
    overwrite(path);
    expect(await inconsistency()).toMatch(/^(modified at|written while not served)/);
  });
});

describe.each(['block device', 'partition'] as const)('a %s whose server is killed while it writes', (kind) => {
  test('is not trusted if another program writes to it before the restart', async () => {
    const { path, open, inconsistency } = await scene(kind);
    const served = await open();
    await write(served);
    await kill(served);
    overwrite(path);
    expect(await inconsistency()).toBe("written after its server was killed: 4 KiB by the kernel's count");
  });

  test('is trusted if nobody else writes to it', async () => {
    const { open } = await scene(kind);
    const served = await open();
    await write(served);
    await kill(served);
    const again = await open();
    expect(again.getBitmap('nightly').trust).toMatchObject({ ground: 'write-count' });
  });

  test('is trusted after any changes, and after a flush not if anything else is written', async () => {
    const random = new Random(testSeed());
    const { path, open } = await scene(kind);
    for (let round = 0; round < 20; round++) {
      const served = await open();
      const nightly = served.getBitmap('nightly');
      expect(nightly.inconsistent).toBeUndefined();
      const elsewhere = new Elsewhere(served);
      for (let change = 0; change < 30; change++) await changeSomehow(served, random, elsewhere);
      expect(nightly.inconsistent).toBeUndefined();
      await kill(served);
    }
    expect(Elsewhere.writes).toBeGreaterThan(0);
    const served = await open();
    const elsewhere = new Elsewhere(served);
    await write(served);
    for (let change = 0; change < 30; change++) await changeSomehow(served, random, elsewhere);
    await write(served);
    await served.flushForBitmaps();
    await served.tick();
    await kill(served);
    overwrite(path);
    expect((await open()).getBitmap('nightly').inconsistent).toMatch(
      /^written (after its server was killed|while not served): /,
    );
  });

  test('is found to be written by another program at the next tick of the clock', async () => {
    const { path, open } = await scene(kind);
    const served = await open();
    await write(served);
    overwrite(path);
    await served.tick();
    expect(served.getBitmap('nightly').inconsistent).toBe(REASON);
  });
});

test('a block device that is written while its server writes is noticed when it gets another size', async () => {
  const { path, open } = await scene('block device');
  const served = await open();
  await write(served);
  const fd = openSync(path, 'r+');
  onTestFinished(() => closeSync(fd));
  // Not yet counted by the kernel.
  writeSync(fd, Buffer.alloc(64 * KIB, 7), 0, 64 * KIB, 2 * MIB);
  await served.resize(3 * MIB);
  expect(served.getBitmap('nightly').inconsistent).toBe(REASON);
});

test('a partition is not reported as changed when the kernel joins a write at its end with one to the next partition', async () => {
  const { path, open } = await scene('partition');
  const next = openSync(partition(path.slice(0, -2), 2), 'r+');
  onTestFinished(() => closeSync(next));
  const served = await open();
  await write(served);
  expect(await served.device.write(Buffer.alloc(4 * KIB, 7), 0, 4 * KIB, 4 * MIB - 4 * KIB)).toBe(0);
  writeSync(next, Buffer.alloc(64 * KIB, 7), 0, 64 * KIB, 0);
  // Writes everything back at once.
  execFileSync('sync');
  await insideOf(served).persistence!.tick();
  expect(served.getBitmap('nightly').inconsistent).toBeUndefined();
});

test('a partition that is written while it is not served is noticed, even if the kernel counts that for its neighbour', async () => {
  const { path, open } = await scene('partition');
  const [before, after] = [path, partition(path.slice(0, -2), 2)];
  const served = await open({ path: after });
  await write(served);
  await served.close();
  await (await open({ path: after })).close();
  const fds = [before, after].map((device) => openSync(device, 'r+'));
  onTestFinished(() => {
    for (const fd of fds) closeSync(fd);
  });
  writeSync(fds[0]!, Buffer.alloc(4 * KIB, 7), 0, 4 * KIB, 4 * MIB - 4 * KIB);
  writeSync(fds[1]!, Buffer.alloc(64 * KIB, 7), 0, 64 * KIB, 0);
  execFileSync('sync');
  expect((await open({ path: after })).getBitmap('nightly').inconsistent).toMatch(
    /^(its content changed while it was not served|written while not served)/,
  );
});

test('a block device whose blocks are larger than a page is trusted after a kill', async (context) => {
  const { open } = await scene('block device with large blocks').catch((error) => context.skip(`${error}`));
  const served = await open();
  await write(served);
  await served.flushForBitmaps();
  await insideOf(served).persistence!.tick();
  expect(served.getBitmap('nightly').inconsistent).toBeUndefined();
  await write(served);
  await kill(served);
  const again = await open();
  expect(again.getBitmap('nightly').trust).toMatchObject({ ground: 'write-count' });
});

test('a block device is trusted for a weaker reason if there is no shared memory to count in', async () => {
  const { path, open } = await scene('block device', undefined, { ...native, mapSharedNow: () => undefined });
  const served = await open();
  await write(served);
  await kill(served);
  overwrite(path);
  const again = await open();
  expect(again.getBitmap('nightly').trust).toMatchObject({ ground: 'write-intent' });
});

test('the shared memory of a block device is released at a clean close, or at the start after a crash', async () => {
  const { store, open } = await scene('block device');
  const limitPath = () => (JSON.parse(store.get(exportKey('disk'))!.toString()) as StoredExport).lastSight!.limitPath!;
  const served = await open();
  await write(served);
  const first = limitPath();
  expect(existsSync(first)).toBe(true);
  await kill(served);
  const again = await open();
  expect(existsSync(first)).toBe(false);
  await write(again);
  const second = limitPath();
  expect(existsSync(second)).toBe(true);
  await comeToRest(again);
  expect(limitPath()).toBe(second);
  await kill(again);
  const last = await open();
  expect(existsSync(second)).toBe(false);
  await write(last);
  const third = limitPath();
  expect(existsSync(third)).toBe(true);
  await last.close();
  expect(existsSync(third)).toBe(false);
});

describe('a loop device whose file is written', () => {
  const BEHIND = /^the file that it shows was written by itself$/;

  test.each(['closed', 'killed at rest'] as const)('while its server is %s is noticed', async (left) => {
    const { file, open, inconsistency } = await scene('block device');
    const served = await open();
    await write(served);
    await comeToRest(served);
    await (left === 'closed' ? served.close() : kill(served));
    expect(await inconsistency()).toBeUndefined();
    overwrite(file);
    expect(await inconsistency()).toMatch(BEHIND);
  });

  test('while it is served at rest is noticed when a backup begins', async () => {
    const { file, open } = await scene('block device');
    const served = await open();
    await write(served);
    await comeToRest(served);
    overwrite(file);
    await served.noticeOutsideChanges();
    expect(served.getBitmap('nightly').inconsistent).toBe(REASON);
  });
});

test('a loop device over part of a file is not reported as changed when the rest is written', async () => {
  const { file, open } = await scene();
  const part = { path: attachLoop(file, '--sizelimit', `${MIB}`) };
  await (await open(part)).close();
  overwrite(file);
  expect((await open(part)).getBitmap('nightly').inconsistent).toBeUndefined();
});

test('a partition is not reported as changed when another is written, and cannot be served together with its disk', async () => {
  const { path, open, inconsistency } = await scene('partition', new DiskClaims());
  const disk = path.slice(0, -2);
  await (await open()).close();
  overwrite(partition(disk, 2));
  expect(await inconsistency()).toBeUndefined();
  const served = await open();
  await expect(open({ name: 'disk of it', path: disk })).rejects.toMatchObject({ code: 'IMAGE_LOCKED' });
  await open({ name: 'other', path: `${disk}p2` });
  await served.close();
});

describe('a block device that was attached again, or whose machine was rebooted,', () => {
  /** The kernel then restarts its counters, which the store shows. */
  function forgetCounts(store: MemoryStore): Promise<void> {
    const key = exportKey('disk');
    const stored = JSON.parse(store.get(key)!.toString()) as StoredExport;
    const counters = { ...stored.identity.counters!, bootId: 'another' };
    const value = Buffer.from(JSON.stringify({ ...stored, identity: { ...stored.identity, counters } }));
    return store.commit([{ key, value }]);
  }

  async function closedOnce() {
    const made = await scene('block device');
    const served = await made.open();
    await write(served);
    await served.close();
    await forgetCounts(made.store);
    return made;
  }

  test('is trusted if the compared blocks are unchanged', async () => {
    const { open } = await closedOnce();
    const served = await open();
    const nightly = served.getBitmap('nightly');
    expect(nightly.inconsistent).toBeUndefined();
    expect(nightly.trust).toMatchObject({ ground: 'witnesses' });
  });

  test('is trusted even if it was served read-only in between', async () => {
    const { open, store } = await closedOnce();
    await (await open({ readOnly: true })).close();
    await forgetCounts(store);
    const served = await open();
    expect(served.getBitmap('nightly').trust).toMatchObject({ ground: 'witnesses' });
  });

  test('is not trusted if its first or last block was written', async () => {
    const { path, inconsistency } = await closedOnce();
    const fd = openSync(path, 'r+');
    writeSync(fd, Buffer.alloc(512, 7), 0, 512, 4 * MIB - 512);
    fsyncSync(fd);
    closeSync(fd);
    expect(await inconsistency()).toMatch(/^its content changed while it was not served/);
  });
});

describe('a disk that is served', () => {
  const second = (path: string, change: Partial<ExportSpec> = {}) => ({ name: 'second', path, bitmaps: [], ...change });
  const refusal = (what: string) => ({ code: 'IMAGE_LOCKED', message: expect.stringContaining(what) });

  test('cannot be served again through another path, and the error names the export', async () => {
    const { file, open } = await scene('file', new DiskClaims());
    await open();
    linkSync(file, `${file}.link`);
    await expect(open(second(file))).rejects.toMatchObject(refusal(`this server serves ${file} already, as "disk"`));
    await expect(open(second(`${file}.link`))).rejects.toMatchObject(refusal(`in common with ${file}`));
  });

  test('cannot be served again through a loop device, in either order', async () => {
    const { file, open } = await scene('file', new DiskClaims());
    const loop = attachLoop(file);
    const served = await open();
    await expect(open(second(loop))).rejects.toMatchObject(
      refusal(`${loop} has bytes in common with ${file}, which this server serves, as "disk"`),
    );
    await served.close();
    const other = await open(second(loop));
    await expect(open({ readOnly: true })).rejects.toMatchObject(refusal('as "second"'));
    await other.close();
    await open();
  });

  test('is found behind a loop device even if the path of its file now names another file', async () => {
    const { file, open } = await scene('file', new DiskClaims());
    const loop = attachLoop(file);
    renameSync(file, `${file}.old`);
    await createImage(file, 4 * MIB);
    await open();
    await expect(open(second(`${file}.old`))).resolves.toBeDefined();
    await expect(open({ ...second(loop), name: 'third' })).rejects.toMatchObject(refusal('as "second"'));
  });

  test('may be served twice when both are read-only', async () => {
    const { file, open } = await scene('file', new DiskClaims());
    await open({ readOnly: true });
    await open(second(attachLoop(file), { readOnly: true }));
  });
});

describe('a file', () => {
  test('with a time in the future is not reported as changed when the server writes it', async () => {
    const { file, open, inconsistency } = await scene();
    const later = new Date(Date.now() + 3_600_000);
    utimesSync(file, later, later);
    const served = await open();
    await write(served);
    await served.close();
    expect(await inconsistency()).toBeUndefined();
  });

  test('that is overwritten while it is written, and given an older time, is noticed', async () => {
    const { file, open, inconsistency } = await scene();
    const served = await open();
    await write(served);
    overwrite(file);
    const older = new Date(Date.now() - 3_600_000);
    utimesSync(file, older, older);
    await served.close();
    expect(await inconsistency()).toBe(REASON);
  });

  test('that is written after a crash in the middle of writes is noticed once the last sign of life is over', async () => {
    const { file, open, inconsistency } = await scene();
    const served = await open();
    await write(served);
    await kill(served);
    overwrite(file);
    const later = new Date(Date.now() + 60_000);
    utimesSync(file, later, later);
    expect(await inconsistency()).toMatch(/^changed at .* after the server's last sign of life/);
  });

  test('that is written through a loop device after the last write of its server is noticed at the close', async () => {
    const { file, open, inconsistency } = await scene();
    const served = await open();
    await write(served);
    const loop = attachLoop(file);
    untilTimesMoveOn(file);
    overwrite(loop);
    await served.close();
    expect(await inconsistency()).toBe(REASON);
  });

  test('that gets another mode and name while it is served is not reported as changed, even after a crash', async () => {
    const { file, open, inconsistency } = await scene();
    const served = await open();
    await write(served);
    await comeToRest(served);
    chmodSync(file, 0o640);
    linkSync(file, `${file}.link`);
    unlinkSync(`${file}.link`);
    readFileSync(file);
    await served.tick();
    await kill(served);
    expect(await inconsistency()).toBeUndefined();
  });

  test('costs no commits at rest, and at most one for each tick of the clock while it is written', async () => {
    const { store, open } = await scene();
    const served = await open();
    await write(served);
    await comeToRest(served);
    // Let regions cool.
    for (let turn = 0; turn < 7; turn++) await served.tick();
    const before = store.commits;
    for (let turn = 0; turn < 5; turn++) await served.tick();
    expect(store.commits).toBe(before);
    await write(served);
    await served.tick();
    expect(store.commits - before).toBeLessThanOrEqual(2);
  });

  test('is at rest right after a change of its bitmaps, if nobody writes to it', async () => {
    const { open } = await scene();
    const served = await open();
    await write(served);
    const watchedAfterChange = async () => {
      await changeAtOneInstant([served], {
        apply: (undos) => void undos.push(insideOf(served).bitmaps.get('nightly').clear()),
      });
      await insideOf(served).persistence!.settle();
      return insideOf(served).persistence!.watched;
    };
    await expect.poll(watchedAfterChange).toBe('at rest');
  });
});

import { copyFileSync, mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { KIB, MIB } from '../../src/base/units.js';
import { NbdClient } from '../../src/client/nbd-client.js';
import { startPull, tidemark } from '../support/agent.js';
import { expectSameContent } from '../support/image.js';
import { Random, testSeed } from '../support/random.js';
import { outcomeOf, run } from '../support/run.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { startTidemarkIn, type Tidemark } from '../support/tidemark.js';

const FILE_SYSTEM_BYTES = 32 * MIB;
/** The size of the file system. After it there is room for random blocks. */
const DISK_BYTES = 64 * MIB + 512;
const BLOCK_BYTES = 4 * KIB;
/** So slow that a pull is still in progress when something happens to it. */
const SLOW = ['--bwlimit', '1M'];

/** A disk that changes from day to day, as that of a virtual machine does. */
class Disk {
  readonly path: string;
  private written: Buffer = Buffer.alloc(DISK_BYTES);

  private constructor(
    private readonly folder: string,
    private readonly random: Random,
  ) {
    this.path = join(folder, 'model.img');
  }

  static async make(folder: string, random: Random): Promise<Disk> {
    const disk = new Disk(folder, random);
    writeFileSync(disk.path, '');
    truncateSync(disk.path, DISK_BYTES);
    await run('mkfs.ext4', '-q', '-F', '-b', '4096', disk.path, `${FILE_SYSTEM_BYTES / KIB}K`);
    return disk;
  }

  /** Adds a file to the file system, removes one, and writes blocks after it, all through the server too. */
  async change(day: number, uri: string): Promise<void> {
    await this.changeFiles(day);
    const content = readFileSync(this.path);
    for (let i = 0; i < 30; i++) this.changeBlock(content);
    content.fill(day, FILE_SYSTEM_BYTES + 8 * MIB, FILE_SYSTEM_BYTES + 11 * MIB);
    content.fill(0, FILE_SYSTEM_BYTES + day * MIB, FILE_SYSTEM_BYTES + day * MIB + 300 * KIB);
    writeFileSync(this.path, content);
    await this.send(content, uri);
  }

  private async changeFiles(day: number): Promise<void> {
    const file = join(this.folder, `day-${day}`);
    const bytes = Array.from({ length: 200 * KIB + this.random.below(400 * KIB) }, () => this.random.below(256));
    writeFileSync(file, Buffer.from(bytes));
    const commands = [`write ${file} day-${day}`, `mkdir folder-${day}`, ...(day > 3 ? [`rm day-${day - 3}`] : [])];
    for (const command of commands) await run('debugfs', '-w', '-R', command, this.path);
  }

  private changeBlock(content: Buffer): void {
    const sectors = 1 + this.random.below(200);
    const free = (DISK_BYTES - FILE_SYSTEM_BYTES) / 512 - sectors + 1;
    const offset = FILE_SYSTEM_BYTES + this.random.below(free) * 512;
    content.fill(this.random.below(256), offset, offset + sectors * 512);
  }

  /** Writes to the server what it does not have yet. */
  private async send(content: Buffer, uri: string): Promise<void> {
    const client = await NbdClient.connect(uri);
    const writes: Promise<void>[] = [];
    for (let at = 0; at < DISK_BYTES; at += BLOCK_BYTES) {
      const block = content.subarray(at, at + BLOCK_BYTES);
      if (!block.equals(this.written.subarray(at, at + BLOCK_BYTES))) writes.push(client.write(at, block));
    }
    await Promise.all(writes);
    await client.flush();
    await client.disconnect();
    this.written = content;
  }
}

test('after a week of backups, each restore point equals the disk of its day, whatever was killed in between', async () => {
  const random = new Random(testSeed());
  const [folder, backups, days] = [scratchFolder(), scratchFolder(), scratchFolder()];
  const image = join(folder, 'served.img');
  const serve = () => startTidemarkIn(folder, [`vm1=${image},size=${DISK_BYTES},bitmap=nightly`]);
  let server: Tidemark = await serve();
  const pullArgs = ['vm1', '--bitmap', 'nightly', '--to', backups, '--control', server.control];
  const exportFolder = join(backups, 'vm1');
  const disk = await Disk.make(folder, random);
  const points = new Map<string, string>();

  const pullWell = async (day: number): Promise<string> => {
    const { code, stdout, stderr } = await tidemark('pull', ...pullArgs, '--json');
    expect(code, `day ${day}, seed ${random.seed}: ${stderr}`).toBe(0);
    return noteDay(day, JSON.parse(stdout));
  };
  const noteDay = (day: number, result: { id: string; images: { mode: string }[] }, file = disk.path): string => {
    copyFileSync(file, join(days, `${day}.img`));
    points.set(result.id, join(days, `${day}.img`));
    expect(result.images[0]!.mode).toBe(day === 1 ? 'full' : 'incremental');
    return result.id;
  };

  await disk.change(1, server.uri('vm1'));
  await pullWell(1);

  // The second day's backup shows the disk at its begin, although the disk changes while it is read.
  await disk.change(2, server.uri('vm1'));
  const dayTwo = join(days, 'two.img');
  copyFileSync(disk.path, dayTwo);
  const slow = await startPull(exportFolder, ...pullArgs, ...SLOW, '--json');
  await disk.change(3, server.uri('vm1'));
  const { code, stdout } = await slow.ended;
  expect(code).toBe(0);
  noteDay(2, JSON.parse(stdout), dayTwo);

  // The server dies.
  const dying = await startPull(exportFolder, ...pullArgs, ...SLOW);
  await server.stop('SIGKILL');
  expect(await dying.ended).toMatchObject({ code: 1, stderr: expect.stringMatching(/^tidemark: .+ \(.+\)\n$/) });
  server = await serve();
  await pullWell(3);

  // The agent dies.
  await disk.change(4, server.uri('vm1'));
  await (await startPull(exportFolder, ...pullArgs, ...SLOW)).end('SIGKILL');
  await pullWell(4);

  // The user changes his mind.
  await disk.change(5, server.uri('vm1'));
  const interrupted = await (await startPull(exportFolder, ...pullArgs, ...SLOW)).end('SIGINT');
  expect(interrupted).toMatchObject({ code: 1, stderr: expect.stringContaining('tidemark: interrupted') });
  expect(readdirSync(exportFolder).filter((name) => name.startsWith('.'))).toEqual([]);
  await pullWell(5);

  // The server rests.
  await disk.change(6, server.uri('vm1'));
  await server.stop();
  server = await serve();
  await pullWell(6);

  await disk.change(7, server.uri('vm1'));
  await pullWell(7);
  await expectWeek(backups, points, [...points.keys()]);

  const kept = [...points.keys()].slice(-4);
  expect((await tidemark('prune', backups, '--keep', '4')).code).toBe(0);
  await expectWeek(backups, points, kept);
  await disk.change(8, server.uri('vm1'));
  await expectWeek(backups, points, [...kept, await pullWell(8)]);
}, 240_000);

/** Restores every point with tidemark and with qemu-img, and checks both results. */
async function expectWeek(backups: string, points: ReadonlyMap<string, string>, ids: readonly string[]): Promise<void> {
  const verified = await tidemark('verify', backups, '--json');
  expect(verified.code, verified.stdout).toBe(0);
  const { exports, checkedByQemu } = JSON.parse(verified.stdout);
  expect(checkedByQemu).toBe(true);
  expect(exports[0].points.map(({ id }: { id: string }) => id)).toEqual(ids);
  const folder = join(scratchFolder(), 'restored');
  mkdirSync(folder);
  for (const id of ids) {
    const [ours, theirs] = [join(folder, `${id}.img`), join(folder, `${id}.qemu.img`)];
    const source = join(backups, 'vm1', `${id}.qcow2`);
    const { code, stderr } = await tidemark('restore', backups, 'vm1', '--at', id, '--to', ours);
    expect(code, stderr).toBe(0);
    await run('qemu-img', 'convert', '-O', 'raw', source, theirs);
    expectSameContent(ours, points.get(id)!);
    expectSameContent(theirs, points.get(id)!);
    expect(await run('qemu-img', 'check', source)).toContain('No errors were found');
    expect((await outcomeOf('e2fsck', '-f', '-n', ours)).code).toBe(0);
  }
}

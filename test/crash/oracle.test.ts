import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { MIB, SECTOR_BYTES } from '../../src/base/units.js';
import { Control } from '../support/control.js';
import { makeImage } from '../support/image.js';
import { xfsDisk } from '../support/mounted-disk.js';
import { Random, testSeed } from '../support/random.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { startTidemarkIn, type Tidemark } from '../support/tidemark.js';
import { Agent, type Ending } from './oracle/agent.js';
import { sequencesIn } from './oracle/blocks.js';
import { WriteLog } from './oracle/write-log.js';
import { writeUntilGone } from './oracle/writer.js';

const DISK_BYTES = 16 * MIB;
const DISKS = ['disk0', 'disk1'];
const WRITERS_PER_DISK = 3;
/** Threads that serve clients. With more than one, most writes are made without asking the owner of the disk. */
const THREADS = ['1', '4'];

const seed = testSeed();
const rounds = Number(process.env.TIDEMARK_ROUNDS ?? 50);

/** Small regions, few of them, that cool at once: much happens to the write-intent log in a short time. */
const busyLog = ['--region-size', '512K', '--max-active-regions', '6', '--cool-after', '0'];

/** How often each ending is planned. */
const shares: Record<Ending, number> = { commit: 8, abort: 3, crash: 3, expire: 1 };
const endings = (Object.keys(shares) as Ending[]).flatMap((ending) => Array<Ending>(shares[ending]).fill(ending));

class Rounds {
  readonly seen: Record<Ending, number> = { commit: 0, abort: 0, crash: 0, expire: 0 };
  private readonly folder = scratchFolder();
  private readonly images: readonly string[];
  private readonly log = new WriteLog(DISKS.length, DISK_BYTES);
  private readonly agents: readonly Agent[];
  private server!: Tidemark;
  private writers: Promise<void>[] = [];

  /** The images are in folders of their own in `place`. */
  constructor(
    private readonly random: Random,
    place?: string,
  ) {
    this.images = DISKS.map((name) => makeImage(DISK_BYTES, [], place && makeFolder(join(place, name))));
    this.agents = ['nightly', 'weekly'].map((bitmap) => new Agent(bitmap, DISKS, this.log, random));
  }

  async start(): Promise<void> {
    const specs = DISKS.map((name, i) => `${name}=${this.images[i]},bitmap=nightly:16K`);
    this.server = await startTidemarkIn(this.folder, specs, [...busyLog, '--threads', this.random.pick(THREADS)]);
    const sectors = Math.floor(DISK_BYTES / SECTOR_BYTES / WRITERS_PER_DISK);
    this.writers = DISKS.flatMap((name, disk) =>
      Array.from({ length: WRITERS_PER_DISK }, (_, i) =>
        writeUntilGone(this.server.uri(name), { disk, firstSector: i * sectors, sectors }, this.log, this.random),
      ),
    );
  }

  /** Lets one agent work, or both at the same time. */
  async round(): Promise<void> {
    const control = new Control(this.server.control);
    const busy = this.random.chance(3) ? this.agents : [this.random.pick(this.agents)];
    const chosen = busy.map((agent) => ({ agent, ending: this.random.pick(endings) }));
    for (const { ending } of chosen) this.seen[ending]++;
    const crash = chosen.some(({ ending }) => ending === 'crash');
    const work = Promise.allSettled(chosen.map(({ agent, ending }) => agent.backUp(control, ending)));
    if (crash) {
      await delay(this.random.below(700));
      await this.crash();
    }
    for (const result of await work)
      if (result.status === 'rejected' && !(crash && isLoss(result.reason))) throw result.reason;
    if (crash) await this.restart();
  }

  get cleanBytes(): number {
    return this.agents.reduce((sum, agent) => sum + agent.cleanBytes, 0);
  }

  private async crash(): Promise<void> {
    await this.server.stop('SIGKILL');
    await Promise.all(this.writers);
  }

  private async restart(): Promise<void> {
    this.log.adoptAfterCrash(this.images.map((image, disk) => sequencesIn(readFileSync(image), disk)));
    await this.start();
    const control = new Control(this.server.control);
    for (const agent of this.agents) await agent.recover(control);
  }

  /** Makes at least one increment, however the rounds went. */
  async finish(): Promise<void> {
    const control = new Control(this.server.control);
    for (let i = 0; i < 2; i++) await this.agents[0]!.backUp(control, 'commit');
    await this.server.stop();
    await Promise.all(this.writers);
  }
}

function makeFolder(path: string): string {
  mkdirSync(path);
  return path;
}

/** Whether the error means that the server went away. */
function isLoss(error: unknown): boolean {
  const { name, code } = error as { name?: string; code?: string };
  return name === 'NbdConnectionError' || ['ECONNREFUSED', 'ECONNRESET', 'ENOENT', 'EPIPE'].includes(code ?? '');
}

const timeout = 60_000 + rounds * 10_000;

async function runRounds(count: number, place?: string): Promise<void> {
  const all = new Rounds(new Random(seed), place);
  await all.start();
  for (let round = 0; round < count; round++) await all.round();
  await all.finish();
  console.log(`backups meant to end by: ${JSON.stringify(all.seen)}; ${all.cleanBytes / MIB} MiB were clean`);
  // Otherwise a server that reports everything as dirty would pass.
  expect(all.cleanBytes).toBeGreaterThan(0);
}

test(`every view is one instant, and no change is missed (${rounds} rounds)`, { timeout }, () => runRounds(rounds));

test('the same on a file system that can clone images', { timeout }, async () => {
  const { path } = await xfsDisk();
  await runRounds(Math.ceil(rounds / 10), path);
});

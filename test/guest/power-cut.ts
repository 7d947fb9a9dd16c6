// Takes the power from a whole machine: kernel, file system, LMDB, tidemark. Run it with `npm run power-cut`.
//
// A QEMU guest boots a Debian kernel, this tidemark and this Node. The image and the state are on one ext4 file system.
// The disk under it is served from here, over NBD. In a power cut it loses what the guest has not flushed: all of it,
// none of it, or any sectors of 512 bytes. Clients outside the guest write, flush and clear the bitmap until the guest
// is killed without warning, while it serves or while it starts. Then it starts again, and the clients compare.
//
// Not part of `npm test`: it takes about 15 seconds a round.

import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { MIB } from '../../src/base/units.js';
import { Random, testSeed } from '../support/random.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { dirtyRanges } from '../support/status-map.js';
import { connectWriters, differingGranules, GRANULES, granulesOf, Ledger, readDisk } from './clients.js';
import { DiskServer } from './disk-server.js';
import { Guest } from './guest.js';
import { type GuestFiles, makeFileSystem, makeGuestFiles } from './guest-files.js';
import type { VolatileDisk } from './volatile-disk.js';

const FILE_SYSTEM_BYTES = 192 * MIB;

const seed = testSeed();
const rounds = Number(process.env.TIDEMARK_ROUNDS ?? 24);

/** Figures about all rounds. */
interface Figures {
  cuts: number;
  /** Cuts in which the disk lost sectors that the guest had written but not flushed. */
  cutsThatLost: number;
  comparisons: number;
  lostSectors: number;
  lostGranules: number;
  clears: number;
  dirtyGranules: number;
  overReported: number;
}

/** A series of guests on one disk, and what their clients expect. */
class PowerCuts {
  readonly figures: Figures = {
    cuts: 0,
    cutsThatLost: 0,
    comparisons: 0,
    lostSectors: 0,
    lostGranules: 0,
    clears: 0,
    dirtyGranules: 0,
    overReported: 0,
  };
  private readonly ledger = new Ledger();
  /** The possible bases of the bitmap: two if the power was cut while it was cleared. */
  private bases = [Buffer.from(this.ledger.content)];

  constructor(
    private readonly files: GuestFiles,
    private readonly disks: DiskServer,
    private readonly random: Random,
  ) {}

  /** Cuts the power before the guest serves. */
  async cutWhileStarting(): Promise<void> {
    const { guest, disk } = await this.powerUp(false);
    await delay(2000 + this.random.below(6000));
    await this.cut(guest, disk);
  }

  /** Compares what the previous cuts have left, then cuts the power while clients are at work. */
  async cutWhileServing(): Promise<void> {
    const checkState = this.random.chance(3);
    // Before the first start there is no state.
    const { guest, disk } = await this.powerUp(checkState && this.figures.cuts > 0);
    await guest.untilServing();
    await this.compare(guest);
    const failure = this.work(guest).catch((error) => (guest.isKilled ? undefined : error));
    await delay(this.random.below(4000));
    await this.cut(guest, disk);
    expect(await failure).toBeUndefined();
  }

  /** Compares what the previous cuts have left. */
  async end(): Promise<void> {
    const { guest } = await this.powerUp(true);
    await guest.untilServing();
    await this.compare(guest);
    await guest.kill();
  }

  private async powerUp(checkState: boolean): Promise<{ guest: Guest; disk: VolatileDisk }> {
    const { disk, uri } = await this.disks.powerUp();
    return {
      disk,
      guest: await Guest.start(this.files, { diskUri: uri, checkState, eagerWriteback: this.random.chance(2) }),
    };
  }

  private async cut(guest: Guest, disk: VolatileDisk): Promise<void> {
    const lostPercent = this.random.pick([0, 50, 100]);
    if (lostPercent > 0) await untilUnflushed(disk);
    const lost = disk.cutPower(lostPercent);
    if (lost > 0) this.figures.cutsThatLost++;
    this.figures.lostSectors += lost;
    await guest.kill();
    this.figures.cuts++;
  }

  private async compare(guest: Guest): Promise<void> {
    const { ledger, figures } = this;
    expect(guest.console).not.toMatch(/EXT4-fs error|state check ended with [^0]/);
    const found = await readDisk(guest.uri);
    const lost = differingGranules(ledger.content, found);
    expect(
      lost.filter((granule) => !ledger.unflushed.has(granule)),
      this.where('flushed, and lost'),
    ).toEqual([]);
    ledger.settle(found);

    const dirty = new Set(
      (await dirtyRanges(guest.uri, 'nightly')).flatMap(({ offset, length }) => granulesOf(offset, length)),
    );
    const changed = this.bases.map((base) => differingGranules(base, found));
    const missed = changed.map((granules) => granules.filter((granule) => !dirty.has(granule)));
    this.bases = this.bases.filter((_, i) => missed[i]!.length === 0);
    expect(this.bases.length, this.where(`changed, and clean: ${missed[0]}`)).toBeGreaterThan(0);

    figures.comparisons++;
    figures.lostGranules += lost.length;
    figures.dirtyGranules += dirty.size;
    figures.overReported += dirty.size - changed[missed.findIndex((granules) => granules.length === 0)]!.length;
  }

  /** Sends bursts of writes, and clears the bitmap between some of them. Rejects when the guest is gone. */
  private async work(guest: Guest): Promise<never> {
    const writers = await connectWriters(guest.uri, this.ledger, this.random);
    for (;;) {
      if (this.random.chance(2)) await this.clear(guest);
      const requests = 1 + this.random.below(60);
      await Promise.all(writers.map((writer) => writer.run(requests)));
    }
  }

  private async clear(guest: Guest): Promise<void> {
    const now = Buffer.from(this.ledger.content);
    this.bases.push(now);
    await guest.clearBitmap('nightly');
    this.bases = [now];
    // A clear flushes the disk first.
    this.ledger.unflushed.clear();
    this.figures.clears++;
  }

  private where(what: string): string {
    return `seed ${seed}, after ${this.figures.cuts} power cuts: ${what}`;
  }
}

/** Waits a moment for something that the disk can lose. */
async function untilUnflushed(disk: VolatileDisk): Promise<void> {
  for (const deadline = Date.now() + 2000; disk.unflushedSectors === 0 && Date.now() < deadline; ) await delay(1);
}

test(`power cuts: what differs from the base is dirty (${rounds} rounds)`, {
  timeout: 60_000 + rounds * 120_000,
}, async () => {
  const random = new Random(seed);
  const folder = scratchFolder();
  const image = join(folder, 'disk.img');
  await makeFileSystem(image, FILE_SYSTEM_BYTES);
  const cuts = new PowerCuts(await makeGuestFiles(folder), await DiskServer.start(image, folder, random), random);
  for (let round = 0; round < rounds; round++) {
    // A disk that was never served may be lost.
    if (round > 0 && random.chance(5)) await cuts.cutWhileStarting();
    else await cuts.cutWhileServing();
    console.log(JSON.stringify(cuts.figures));
  }
  await cuts.end();
  console.log(JSON.stringify(cuts.figures));
  // Otherwise a server that reports everything as dirty would pass, and so would a disk that loses nothing.
  expect(cuts.figures.dirtyGranules).toBeLessThan(GRANULES * cuts.figures.comparisons);
  expect(cuts.figures.lostSectors).toBeGreaterThan(0);
});

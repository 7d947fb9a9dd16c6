import { vi } from 'vitest';
import type { Action } from '../../../src/api/transaction.js';
import type { Backups } from '../../../src/backup/backups.js';
import { OK, WOULD_BLOCK } from '../../../src/base/errno.js';
import { silentLog } from '../../../src/base/log.js';
import { BitmapSet } from '../../../src/bitmap/bitmap-set.js';
import { PersistentBitmaps } from '../../../src/bitmap/store/persistent-bitmaps.js';
import { SealedStore } from '../../../src/bitmap/store/sealed-store.js';
import { runActions } from '../../../src/control/run-actions.js';
import { Export } from '../../../src/export/export.js';
import { ExportRegistry } from '../../../src/export/registry.js';
import { EventFeed } from '../../../src/watch/event-feed.js';
import { idleClient } from '../../support/idle-client.js';
import { insideOf } from '../../support/inside.js';
import { openMemoryBackups } from '../../support/memory-scratch.js';
import { SECTOR, UnreliableDisk, type UnreliableStore } from '../../support/power-loss.js';
import type { Random } from '../../support/random.js';
import { varyMarks } from '../../support/vary-marks.js';
import { type Memory, missingFrom, remember } from './memory.js';

const SECTORS = 128;
export const DISKS = ['one', 'two'];
const granularities: Readonly<Record<string, number>> = { fine: 512, middle: 1024, coarse: 4096 };
const BITMAPS = Object.keys(granularities);
const WORKERS = 8;
const MOST_CHANGES = 3;
const CUT_TIMEOUT_MS = 5000;
const changeTypes = ['clear', 'clear', 'enable', 'enable', 'disable', 'remove'] as const;

/** One life of a server with two disks, until a power cut. */
export class Life {
  /** What the power cut may leave of the bitmaps of each disk: what they were at one of these moments. */
  readonly memories = new Map<string, Memory[]>();
  /** What a disk that was closed and opened again has lost. */
  wrong: string | undefined;
  readonly events = new EventFeed();
  readonly exports = new ExportRegistry(({ name }) => this.openExport(name));
  readonly sets = new Map<string, BitmapSet>();
  private readonly disks: ReadonlyMap<string, UnreliableDisk>;
  private readonly writing = new Map<Export, number>();
  private readonly running: string[] = [];
  private backups!: Backups;
  private sealed!: SealedStore;
  private stopped = false;
  private changing = 0;
  private reopening = false;
  /** What a disk that is opened again must have: what it had at one of these moments. */
  private readonly expected = new Map<string, readonly Memory[]>();

  constructor(
    private readonly random: Random,
    private readonly store: UnreliableStore,
  ) {
    this.disks = new Map(DISKS.map((name) => [name, new UnreliableDisk(SECTORS * SECTOR, random)]));
  }

  async open(): Promise<void> {
    this.sealed = await SealedStore.over(this.store);
    const commit = this.sealed.commit.bind(this.sealed);
    this.sealed.commit = (changes) => {
      this.look();
      return commit(changes);
    };
    for (const name of DISKS) await this.exports.add({ name, path: 'memory' });
    this.backups = await openMemoryBackups(this.exports, this.sealed);
  }

  async addBitmaps(): Promise<void> {
    await runActions(
      this,
      DISKS.flatMap((disk) => BITMAPS.map((bitmap) => addition(disk, bitmap))),
    );
  }

  /** Works until `count` steps are done by all its workers together; then the power goes in the middle of it. */
  async work(count: number): Promise<Map<string, Buffer>> {
    let left = count;
    await new Promise<void>((powerLost, failed) => {
      const worker = async () => {
        while (!this.stopped) {
          if (--left < 0) {
            this.stopped = true;
            powerLost();
          } else await this.step();
        }
      };
      for (let i = 0; i < WORKERS; i++) worker().catch(failed);
    });
    this.look();
    const remains = this.store.cutPower();
    vi.clearAllTimers();
    return remains;
  }

  private async openExport(name: string): Promise<Export> {
    const disk = this.disks.get(name)!;
    const { sizeBytes } = disk;
    const bitmaps = new BitmapSet(sizeBytes);
    const persistence = await PersistentBitmaps.open({
      exportName: name,
      bitmaps,
      store: this.sealed,
      readOnly: false,
      identify: async () => ({ kind: 'file', id: name, sizeBytes }),
      limits: { regionBytes: 8192, maxActiveRegions: 3, coolAfterTicks: 0 },
      onBitmapError: this.random.chance(2) ? 'refuse' : 'continue',
      log: silentLog,
    });
    varyMarks(persistence, this.random);
    this.sets.set(name, bitmaps);
    // Compared at once, because others may change these bitmaps as soon as this waits for anything.
    if (!this.stopped) this.wrong ??= lostFrom(bitmaps, this.expected.get(name) ?? [remember(bitmaps)]);
    this.memories.set(name, [remember(bitmaps)]);
    const served = new Export({ name, description: '', path: 'memory', readOnly: false, disk, bitmaps, persistence });
    const drain = async () => {
      while (this.writing.get(served) && !this.stopped) await Promise.resolve();
    };
    served.attach(idleClient({ drain }));
    return served;
  }

  private look(): void {
    for (const [name, bitmaps] of this.sets) this.memories.get(name)!.push(remember(bitmaps));
  }

  private async step(): Promise<void> {
    const { random } = this;
    const die = random.below(80);
    if (die < 6) for (const served of this.exports.list()) await served.tick();
    else if (die === 6) this.sets.get(random.pick(DISKS))!.distrust('another program wrote');
    else if (die === 7) vi.advanceTimersByTime(CUT_TIMEOUT_MS);
    else if (die < 10 && !this.reopening) await this.reopen(random.pick(DISKS));
    else if (die < 30 && this.changing < MOST_CHANGES) await this.change();
    else await this.write(random.pick(DISKS));
  }

  private async write(name: string): Promise<void> {
    const { random } = this;
    const served = this.exports.list().find((one) => one.name === name);
    if (!served || served.closing) return;
    const { device } = served;
    const { commits } = insideOf(served).persistence!;
    const sector = random.below(SECTORS);
    const length = Math.min(1 + random.below(6), SECTORS - sector) * SECTOR;
    const data = Buffer.alloc(length, 1);
    const isQuiet = this.changing === 0;
    this.writing.set(served, (this.writing.get(served) ?? 0) + 1);
    let errno = device.writeNow(data, 0, length, sector * SECTOR);
    if (errno === WOULD_BLOCK) errno = await device.write(data, 0, length, sector * SECTOR);
    else await Promise.resolve();
    this.writing.set(served, this.writing.get(served)! - 1);
    // The store has all earlier changes then, or none of them was made.
    const isSettled = errno === OK && isQuiet && this.changing === 0 && commits.storeIs === 'believed';
    const bitmaps = insideOf(served).bitmaps;
    if (isSettled && !this.stopped && this.sets.get(name) === bitmaps) this.memories.set(name, [remember(bitmaps)]);
  }

  /** Its failures are part of the test: whatever it answers, nothing may be lost. */
  private async change(): Promise<void> {
    this.changing++;
    await this.makeChange().catch(() => {});
    if (this.stopped) return;
    this.changing--;
    this.look();
  }

  private async makeChange(): Promise<unknown> {
    const { random, running } = this;
    const die = random.below(13);
    if (die < 6)
      return runActions(
        this,
        Array.from({ length: 1 + random.below(3) }, () => this.action()),
      );
    if (die < 8) return this.begin();
    if (die === 8) return this.backups.tick();
    const id = running.splice(random.below(running.length + 1), 1)[0];
    if (id === undefined) return undefined;
    return die < 11 ? this.backups.commit(id) : this.backups.abort(id);
  }

  private async begin(): Promise<void> {
    const exports = this.random.pick([...DISKS.map((name) => [name]), DISKS]);
    const bitmap = this.random.pick([...BITMAPS, 'new']);
    const { record } = await this.backups.begin({ exports, bitmap, ttlSeconds: 3600, onScratchFull: 'fail-view' });
    this.running.push(record.id);
  }

  private action(): Action {
    const { random } = this;
    const target = { export: random.pick(DISKS), bitmap: random.pick(BITMAPS) };
    const die = random.below(10);
    if (die < 2) return addition(target.export, target.bitmap);
    if (die > 3) return { type: `bitmap-${random.pick(changeTypes)}`, ...target };
    return { type: 'bitmap-merge', ...target, sources: [{ export: random.pick(DISKS), bitmap: random.pick(BITMAPS) }] };
  }

  /** Closes a disk, also when that fails, and opens it again. */
  private async reopen(name: string): Promise<void> {
    this.reopening = true;
    this.changing++;
    const stay = await this.backups.leave(name, true).catch(() => undefined);
    if (stay) {
      const bitmaps = this.sets.get(name)!;
      await this.exports.remove(name).catch(() => {});
      this.expected.set(name, [...this.memories.get(name)!, remember(bitmaps)]);
      // Its store may fail again and again.
      while (!this.stopped && !this.exports.list().some((one) => one.name === name)) {
        await this.exports.add({ name, path: 'memory' }).catch(() => {});
      }
      this.expected.delete(name);
      stay();
    }
    if (this.stopped) return;
    this.changing--;
    this.reopening = false;
  }
}

function addition(disk: string, bitmap: string): Action {
  return { type: 'bitmap-add', export: disk, bitmap, granularityBytes: granularities[bitmap]! };
}

/** Why the bitmaps are not what they were at any of these moments. */
export function lostFrom(found: BitmapSet, memories: readonly Memory[]): string | undefined {
  const wrongs = memories.map((memory) => missingFrom(found, memory));
  return wrongs.includes(undefined) ? undefined : [...new Set(wrongs)].join(', or ');
}

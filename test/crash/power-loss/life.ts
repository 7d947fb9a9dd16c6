import { vi } from 'vitest';
import type { Action } from '../../../src/api/transaction.js';
import type { Backups } from '../../../src/backup/backups.js';
import type { CodedError } from '../../../src/base/coded-error.js';
import { OK, WOULD_BLOCK } from '../../../src/base/errno.js';
import { silentLog } from '../../../src/base/log.js';
import { BitmapSet } from '../../../src/bitmap/bitmap-set.js';
import { PersistentBitmaps } from '../../../src/bitmap/store/persistent-bitmaps.js';
import { SealedStore } from '../../../src/bitmap/store/sealed-store.js';
import { runActions } from '../../../src/control/run-actions.js';
import type { Export } from '../../../src/export/export.js';
import { ExportRegistry } from '../../../src/export/registry.js';
import { PermittedWrites } from '../../../src/storage/permits/permitted-writes.js';
import { EventFeed } from '../../../src/watch/event-feed.js';
import { openMemoryBackups } from '../../support/memory-scratch.js';
import { SECTOR, someTurns, UnreliableDisk, type UnreliableStore } from '../../support/power-loss.js';
import type { Random } from '../../support/random.js';
import { varyMarks } from '../../support/vary-marks.js';
import type { Epoch, Truth } from './epoch.js';
import { type CutFlush, TestedExport, type Wrong } from './tested-export.js';

export const SECTORS = 128;
const DISK = SECTORS * SECTOR;
/** Permits to write exist for whole pieces of 4 KiB. */
const GRANULARITIES = [1024, 4096];
const WRITERS = 4;
/** Threads that write besides. */
const THREADS = 2;

/** A change of the bitmap by the code of the server. */
interface Step {
  readonly cut: CutFlush['cut'];
  /** What it makes of an epoch; undefined where it would be refused. */
  readonly next: (epoch: Epoch, content: Uint32Array) => Epoch | undefined;
  readonly take: (life: Life) => Promise<unknown>;
}

const act =
  (...types: ('bitmap-clear' | 'bitmap-enable' | 'bitmap-disable')[]) =>
  (life: Life) =>
    life.act(types.map((type) => ({ type, export: 'disk', bitmap: 'a' })));

const clear: Step = {
  cut: 'transaction',
  next: ({ frozen, end }, content) => (frozen ? undefined : { base: content, ...(end && { end: content }) }),
  take: act('bitmap-clear'),
};
const disable: Step = {
  cut: 'transaction',
  next: ({ base, frozen, end }, content) => (frozen || end ? undefined : { base, end: content }),
  take: act('bitmap-disable'),
};
const enableEmpty: Step = {
  cut: 'transaction',
  next: ({ frozen, end }, content) => (frozen || !end ? undefined : { base: content }),
  take: act('bitmap-enable', 'bitmap-clear'),
};
const begin: Step = {
  cut: 'begin',
  next: ({ base, frozen, end }, content) => (frozen || end ? undefined : { base, frozen: content }),
  take: (life) => life.begin(),
};
const commit: Step = {
  cut: 'commit',
  next: ({ frozen }) => (frozen ? { base: frozen } : undefined),
  take: (life) => life.backups.commit(life.backup!),
};
const abort: Step = {
  cut: 'abort',
  next: ({ base, frozen }) => (frozen ? { base } : undefined),
  take: (life) => life.backups.abort(life.backup!),
};
const steps = [clear, disable, enableEmpty, begin, commit, abort];

/** One life of the server, from its start to the power cut. */
export class Life {
  readonly bitmaps = new BitmapSet(DISK);
  readonly disk: UnreliableDisk;
  backups!: Backups;
  /** The id of the last backup that has begun. */
  backup: string | undefined;
  /** What a view showed that was not the content at its cut. */
  wrongView: string | undefined;
  /** Writes that a thread made without asking. */
  permittedWrites = 0;
  readonly events = new EventFeed();
  readonly exports = new ExportRegistry(() => this.openExport());
  private served!: Export;
  private sealed!: SealedStore;
  private threads: PermittedWrites[] = [];
  private stopped = false;
  private changing: Step | undefined;

  constructor(
    private readonly random: Random,
    sectors: Uint32Array,
    private readonly store: UnreliableStore,
    private readonly truth: Truth,
    private readonly wrong: Wrong,
  ) {
    this.disk = new UnreliableDisk(DISK, random, sectors);
  }

  async open(): Promise<void> {
    this.sealed = await SealedStore.over(this.store);
    this.served = await this.exports.add({ name: 'disk', path: 'memory' });
    this.backups = await openMemoryBackups(this.exports, this.sealed);
    const { permits } = this.served.share(THREADS)!.disk;
    this.threads = Array.from({ length: THREADS }, (_, slot) => new PermittedWrites(permits, slot));
  }

  async addBitmap(): Promise<void> {
    const granularityBytes = this.random.pick(GRANULARITIES);
    const added: Step = {
      cut: 'transaction',
      next: (_epoch, base) => ({ base }),
      take: () => this.act([{ type: 'bitmap-add', export: 'disk', bitmap: 'a', granularityBytes }]),
    };
    await this.change(added);
  }

  act(actions: readonly Action[]): Promise<unknown> {
    return runActions(this, actions);
  }

  async begin(): Promise<void> {
    const request = { exports: ['disk'], bitmap: 'a', ttlSeconds: 3600, onScratchFull: 'fail-view' } as const;
    this.backup = (await this.backups.begin(request)).record.id;
  }

  /** Works until `count` steps are done by all its writers together; then the power goes in the middle of it. */
  async work(count: number): Promise<{ sectors: Uint32Array; store: Map<string, Buffer> }> {
    let left = count;
    await new Promise<void>((powerLost) => {
      const worker = async () => {
        while (!this.stopped) {
          if (--left < 0) {
            this.stopped = true;
            powerLost();
            return;
          }
          await this.step();
        }
      };
      for (let i = 0; i < WRITERS; i++) void worker();
      for (const thread of this.threads) void this.writeFrom(thread);
    });
    const remains = { sectors: this.disk.cutPower(), store: this.store.cutPower() };
    // What waits in this life waits for ever.
    vi.clearAllTimers();
    return remains;
  }

  private async openExport(): Promise<Export> {
    const { bitmaps, disk, wrong } = this;
    const persistence = await PersistentBitmaps.open({
      exportName: 'disk',
      bitmaps,
      store: this.sealed,
      readOnly: false,
      identify: async () => ({ kind: 'file', id: '1:1', sizeBytes: DISK }),
      limits: { regionBytes: 8192, maxActiveRegions: 3, coolAfterTicks: 0 },
      onBitmapError: 'refuse',
      log: silentLog,
    });
    varyMarks(persistence, this.random);
    const parts = { name: 'disk', description: '', path: 'memory', readOnly: false, disk, bitmaps, persistence };
    return new TestedExport({ ...parts, wrong, cut: () => this.changing!.cut, atInstant: () => this.atInstant() });
  }

  private async step(): Promise<void> {
    const { random } = this;
    const die = random.below(26);
    if (die < 2) await this.served.device.flush();
    else if (die < 4) await this.served.tick();
    else if (die < 6) await this.readView();
    else if (die < 9 && !this.changing) await this.change(random.pick(this.possibleSteps()));
    else await this.write();
  }

  /** Writes what is permitted, like a thread that can be held up between any two of its steps, and asks for the rest. */
  private async writeFrom(thread: PermittedWrites): Promise<void> {
    while (!this.stopped) {
      const { offset, data } = this.randomWrite();
      const mayWrite = thread.begin(offset, data.length);
      await someTurns(this.random, 12);
      const errno = mayWrite ? this.disk.writeNow(data, 0, data.length, offset) : WOULD_BLOCK;
      await someTurns(this.random, 12);
      if (errno === OK) this.permittedWrites++;
      thread.end(mayWrite);
      if (errno === WOULD_BLOCK) await this.write({ offset, data });
    }
  }

  private randomWrite(): { offset: number; data: Buffer } {
    const { random } = this;
    const sector = random.below(SECTORS);
    const length = Math.min(random.below(7), SECTORS - sector) * SECTOR;
    const data = Buffer.alloc(length);
    for (let at = 0; at < length; at += SECTOR) data.writeUInt32LE(1 + random.below(2 ** 31), at);
    return { offset: sector * SECTOR, data };
  }

  private async write({ offset, data } = this.randomWrite()): Promise<void> {
    const { device } = this.served;
    const { length } = data;
    let errno = device.writeNow(data, 0, length, offset);
    if (errno === WOULD_BLOCK) errno = await device.write(data, 0, length, offset);
    else await Promise.resolve();
    if (errno === OK && length > 0 && !this.changing && !this.stopped) this.truth.next = undefined;
  }

  private async readView(): Promise<void> {
    const frozen = this.truth.now.frozen;
    const backup = this.backup === undefined ? undefined : this.backups.running(this.backup);
    if (!frozen || !backup || this.changing) return;
    const { device } = backup.part('disk').view;
    const data = Buffer.alloc(DISK);
    const errno = await device.read(data, 0, DISK, 0);
    // The backup may have ended in the meantime.
    if (!backup.active || this.stopped) return;
    const differing = [...frozen.keys()].filter((sector) => data.readUInt32LE(sector * SECTOR) !== frozen[sector]);
    if (errno !== OK || differing.length > 0)
      this.wrongView ??= `errno ${errno}, sectors ${differing} of the view differ`;
  }

  private possibleSteps(): Step[] {
    return steps.filter((step) => step.next(this.truth.now, this.disk.sectors) !== undefined);
  }

  private async change(step: Step): Promise<void> {
    const { truth } = this;
    this.changing = step;
    const outcome = await step.take(this).then(
      () => 'done',
      (error) => (error as CodedError).code,
    );
    if (this.stopped) return;
    if (outcome === 'done') truth.now = truth.next!;
    // The change is in doubt until the next write, which needs a working store.
    if (outcome !== 'STORE_IN_DOUBT') truth.next = undefined;
    this.changing = undefined;
  }

  /** Nothing is being written, and the change is about to be made. */
  private atInstant(): void {
    if (!this.stopped) this.truth.next = this.changing!.next(this.truth.now, this.disk.sectors.slice());
  }
}

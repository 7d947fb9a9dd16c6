import { EIO, type Errno, errnoOf, OK } from '../../base/errno.js';
import { Turnstile } from '../../base/turnstile.js';
import type { BitmapSet } from '../bitmap-set.js';
import type { Change, KeyValueStore } from './key-value-store.js';
import { allRegions, regionKey } from './keys.js';
import { carryOut, type Plan } from './plan.js';
import type { RegionMark } from './region-mark.js';
import type { RegionTable } from './region-table.js';
import type { StoredBitmaps } from './stored-bitmaps.js';

export interface DiskCommitsOptions {
  readonly exportName: string;
  readonly store: KeyValueStore;
  readonly bitmaps: BitmapSet;
  readonly stored: StoredBitmaps;
  readonly regions: RegionTable;
  /** The entry that describes the disk now. */
  readonly describeDisk: () => Change;
  /** Called when it is no longer known what the store holds, before anything else happens. */
  readonly onDoubt: () => void;
  /** Called with an error that nobody expects. */
  readonly onBug: (bug: unknown) => void;
}

/** How far the store is relied on. `ignored`: changes go on although nobody knows what the store holds. */
type Trust = 'believed' | 'doubted' | 'ignored';

/** What a commit does besides saving what has changed of the bitmaps. */
export interface Additions {
  /** What is named of regions from now on. */
  readonly marks?: ReadonlyMap<number, RegionMark>;
  readonly cooling?: readonly number[];
  readonly changes?: readonly Change[];
}

/**
 * The commits for one disk. There is one at a time, so each is planned on what came of the last. After a commit that
 * failed, nobody knows what the store holds. Nothing in it is believed then, until a commit has stored everything again.
 */
export class DiskCommits {
  private readonly turns = new Turnstile(1);
  private trust: Trust = 'believed';
  private ended = false;

  constructor(private readonly options: DiskCommitsOptions) {}

  get storeIs(): Trust {
    return this.trust;
  }

  /** Runs `work` after the commits asked for so far, and before any other. */
  pass<T>(work: () => Promise<T>): Promise<T> {
    return this.turns.pass(work);
  }

  /** Resolves when the commits asked for so far are through. */
  idle(): Promise<void> {
    return this.pass(async () => {});
  }

  /** Makes one commit; none if `plan` returns none. If `plan` throws, which is a bug, the commit has failed. */
  commit(plan: () => Promise<Plan | undefined>): Promise<Errno> {
    return this.pass(async () => (this.ended ? EIO : this.make(plan)));
  }

  /** As `commit`, and makes no more commits, even if this one fails: the disk may be opened again at any time. */
  commitLast(plan: () => Promise<Plan | undefined>): Promise<Errno> {
    return this.pass(() => {
      this.ended = true;
      return this.make(plan);
    });
  }

  /** What makes the store say what memory says. Regions that cool count as cold from here on. */
  plan({ marks = new Map(), cooling = [], changes = [] }: Additions = {}): Plan {
    const { regions, stored } = this.options;
    for (const region of cooling) regions.cool(region);
    const bits = stored.plan({
      marked: () => regions.rangesOf(regions.list()),
      cooling: regions.rangesOf(cooling),
    });
    const rest = [
      ...(this.trust === 'believed' ? [] : this.restated()),
      ...bits.rest,
      ...cooling.map((region) => this.mark(region, undefined)),
      ...[...marks].map(([region, mark]) => this.mark(region, mark)),
      ...changes,
    ];
    const accept = () => {
      bits.accept();
      for (const [region, mark] of marks) regions.mark(region, mark);
      this.trust = 'believed';
    };
    return { pages: bits.pages, rest, accept, reject: () => this.doubt() };
  }

  /** Nobody knows what the store holds, so the next plan replaces all of it. */
  doubt(): void {
    this.options.onDoubt();
    this.options.stored.forget();
    if (this.trust === 'believed') this.trust = 'doubted';
  }

  /** Lets changes go on without marks until a commit succeeds. No persistent bitmap may be trusted then. */
  ignoreStore(): void {
    this.trust = 'ignored';
  }

  /** Bitmaps were changed halfway because of a bug. None is trusted any more, and the next commit says so. */
  distrust(bug: unknown): void {
    const { bitmaps, onBug } = this.options;
    bitmaps.distrust('a change to it failed halfway');
    this.doubt();
    onBug(bug);
  }

  private async make(plan: () => Promise<Plan | undefined>): Promise<Errno> {
    try {
      const planned = await plan();
      const failure = planned && (await carryOut(this.options.store, [planned]));
      return failure ? errnoOf(failure) : OK;
    } catch (bug) {
      this.doubt();
      this.options.onBug(bug);
      return EIO;
    }
  }

  /** What is stored again, besides the bitmaps, after a commit that failed. */
  private restated(): Change[] {
    const { exportName, store, describeDisk, regions } = this.options;
    const stale = [...store.keys(allRegions(exportName))].map((key) => ({ key, value: undefined }));
    return [describeDisk(), ...stale, ...regions.list().map((region) => this.mark(region, regions.markOf(region)))];
  }

  private mark(region: number, mark: RegionMark | undefined): Change {
    return { key: regionKey(this.options.exportName, region), value: mark?.encode() };
  }
}

import { giveWay } from '../../base/loop-share.js';
import { CommitQueue } from './commit-queue.js';
import {
  type Change,
  type Damage,
  DamagedEntry,
  type EntryStore,
  type Key,
  type KeyValueStore,
  type Visitor,
} from './key-value-store.js';
import { entriesOf, entriesOfStore, everySum, groupOf, sumKey } from './keys.js';
import { checksumOf, Seal } from './seal.js';
import { Tally } from './tally.js';

/** The group of the entries that belong to no export. Its sum also counts which exports exist. */
const STORE = '';
const NO_CHECKSUM = 0n;
/** Changes that are sealed in less than a millisecond. */
const SEALED_TOGETHER = 128;

/**
 * A store that detects damage. Each value carries a checksum that is bound to its key, and each export has a sum over
 * its keys and checksums, which every commit updates. The checksum of an entry detects flipped bits; the sum detects
 * entries that are missing, extra or out of date.
 */
export class SealedStore implements KeyValueStore {
  private readonly queue = new CommitQueue<Change>((changes) => this.carryOut(changes));
  /** Exports with a wrong sum; the next commit writes all their entries and the sum again. */
  private readonly rewritten = new Set<string>();

  private constructor(
    private readonly entries: EntryStore,
    private readonly seal: Seal,
  ) {}

  static async over(entries: EntryStore): Promise<SealedStore> {
    return new SealedStore(entries, await Seal.load());
  }

  commit(changes: readonly Change[]): Promise<void> {
    return this.queue.commit(changes);
  }

  get(key: Key): Buffer | undefined {
    const sealed = this.entries.get(key);
    if (!sealed) return undefined;
    const value = this.seal.open(this.seal.hashOf(key), sealed);
    if (value) return value;
    throw new DamagedEntry(key);
  }

  keys(prefix: Key): Iterable<Key> {
    return this.entries.keys(prefix);
  }

  read(exportName: string, visit: Visitor): Damage | undefined {
    const damage = this.examine(exportName, () => this.scan(entriesOf(exportName), visit));
    if (damage) this.rewritten.add(exportName);
    return damage;
  }

  /** The damage in the entries that belong to no export; `whole` is set when exports may be missing. */
  readOthers(): Damage | undefined {
    return this.examine(STORE, () => this.scanOthers());
  }

  /** Accepts the entries that belong to no export as they are, recomputes their sum, and commits `changes` to them. */
  async acceptOthers(changes: readonly Change[]): Promise<void> {
    const { found } = this.scanOthers();
    const { sealed } = this.seal.close(this.seal.hashOf(sumKey(STORE)), found.encode());
    await this.entries.commit([{ key: sumKey(STORE), value: sealed }]);
    await this.commit(changes);
  }

  close(): Promise<void> {
    return this.entries.close();
  }

  private scanOthers(): Scan {
    const scan = this.scan(entriesOfStore, () => {});
    for (const key of this.entries.keys(everySum)) {
      if (key.length > everySum.length) scan.found.add(this.seal.hashOf(key), NO_CHECKSUM);
    }
    return scan;
  }

  private scan(prefixes: readonly Key[], visit: Visitor): Scan {
    const found = Tally.empty();
    const damaged: Key[] = [];
    for (const prefix of prefixes) {
      for (const key of this.entries.keys(prefix)) {
        const sealed = this.entries.peek(key) ?? Buffer.alloc(0);
        const keyHash = this.seal.hashOf(key);
        found.add(keyHash, checksumOf(sealed) ?? NO_CHECKSUM);
        const value = this.seal.open(keyHash, sealed);
        if (value) visit(key, value);
        else damaged.push(key);
      }
    }
    return { found, damaged };
  }

  /** A wrong sum is damage as a whole: it does not tell which entries are missing or out of date. */
  private examine(group: string, scan: () => Scan): Damage | undefined {
    try {
      const { found, damaged } = scan();
      const sum = this.sumOf(group) ?? Tally.empty();
      if (!sum.hasKeysOf(found)) return { entries: damaged, whole: 'some of its entries are missing' };
      if (!sum.equals(found)) return { entries: damaged, whole: 'some of its entries are out of date' };
      return damaged.length > 0 ? { entries: damaged } : undefined;
    } catch (error) {
      return { entries: [], whole: (error as Error).message };
    }
  }

  /** @throws DamagedEntry */
  private sumOf(group: string): Tally | undefined {
    const value = this.get(sumKey(group));
    return value && Tally.decode(value);
  }

  /** No other commit comes in between while this yields, so the entries that it replaces stay as they are. */
  private async carryOut(changes: readonly Change[]): Promise<void> {
    const sealing = new Sealing(this.entries, this.seal, (group) => this.sumForChange(group));
    for (const [index, change] of changes.entries()) {
      if (index > 0 && index % SEALED_TOGETHER === 0) await giveWay();
      sealing.add(change);
    }
    const { sealed, groups } = sealing.finish();
    await this.entries.commit(sealed);
    for (const group of groups) this.rewritten.delete(group);
  }

  /** Undefined when the sum is damaged; it stays damaged until the whole group is written again. */
  private sumForChange(group: string): { sum: Tally; fresh: boolean } | undefined {
    if (this.rewritten.has(group)) return { sum: Tally.empty(), fresh: true };
    try {
      return { sum: this.sumOf(group) ?? Tally.empty(), fresh: false };
    } catch {
      return undefined;
    }
  }
}

interface Scan {
  readonly found: Tally;
  /** Keys of entries whose values do not match their checksums. */
  readonly damaged: Key[];
}

interface SumInChange {
  readonly sum: Tally;
  /** The sum starts from zero and ignores earlier entries. */
  readonly fresh: boolean;
}

/** One commit: seals its values and computes the new sums. */
class Sealing {
  private readonly sealed: Change[] = [];
  private readonly sums = new Map<string, SumInChange | undefined>();
  /** Checksums of the values put by this commit so far, by key hash; undefined for a removed key. */
  private readonly put = new Map<bigint, bigint | undefined>();

  constructor(
    private readonly entries: EntryStore,
    private readonly seal: Seal,
    private readonly sumForChange: (group: string) => SumInChange | undefined,
  ) {}

  add({ key, value }: Change): void {
    const keyHash = this.seal.hashOf(key);
    const sum = this.sumOf(groupOf(key));
    const before = this.before(key, keyHash, sum);
    const after = value && this.seal.close(keyHash, value);
    if (before !== undefined) sum?.sum.remove(keyHash, before);
    if (after) sum?.sum.add(keyHash, after.checksum);
    this.put.set(keyHash, after?.checksum);
    this.sealed.push({ key, value: after?.sealed });
  }

  finish(): { sealed: readonly Change[]; groups: Iterable<string> } {
    const exports = [...this.sums].filter(([group]) => group !== STORE);
    for (const [group, change] of exports) if (change) this.addSum(group, change.sum);
    const others = this.sums.get(STORE);
    if (others) this.addSum(STORE, others.sum);
    return { sealed: this.sealed, groups: this.sums.keys() };
  }

  private before(key: Key, keyHash: bigint, sum: SumInChange | undefined): bigint | undefined {
    if (this.put.has(keyHash)) return this.put.get(keyHash);
    const sealed = sum?.fresh === false ? this.entries.peek(key) : undefined;
    return sealed && checksumOf(sealed);
  }

  private sumOf(group: string): SumInChange | undefined {
    if (!this.sums.has(group)) this.sums.set(group, this.sumForChange(group));
    return this.sums.get(group);
  }

  /** An export that appears or disappears changes the sum of the store. */
  private addSum(group: string, sum: Tally): void {
    const key = sumKey(group);
    const keyHash = this.seal.hashOf(key);
    if (group !== STORE) {
      const wasThere = this.entries.peek(key) !== undefined;
      if (wasThere && sum.isEmpty) this.sumOf(STORE)?.sum.remove(keyHash, NO_CHECKSUM);
      if (!wasThere && !sum.isEmpty) this.sumOf(STORE)?.sum.add(keyHash, NO_CHECKSUM);
    }
    this.sealed.push({ key, value: sum.isEmpty ? undefined : this.seal.close(keyHash, sum.encode()).sealed });
  }
}

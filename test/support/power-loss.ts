import { type Errno, OK, WOULD_BLOCK } from '../../src/base/errno.js';
import type { ExtentList } from '../../src/base/extents.js';
import type { Change, EntryStore } from '../../src/bitmap/store/key-value-store.js';
import type { BlockDevice, DeviceCapabilities } from '../../src/storage/device/block-device.js';
import { MemoryEntries } from './memory-entries.js';
import type { Random } from './random.js';

export const SECTOR = 512;

/** Lets other work go first, for a random number of turns below `most`. */
export async function someTurns(random: Random, most = 4): Promise<void> {
  for (let turns = random.below(most); turns > 0; turns--) await Promise.resolve();
}

/**
 * A disk that loses power on demand. A write is torn into sectors. Until a flush that began after the write, each of
 * them may or may not survive, in any order. A sector holds one number, so that its history can be told.
 */
export class UnreliableDisk implements BlockDevice {
  readonly capabilities: DeviceCapabilities = { readOnly: false, rotational: false, trim: true, fastZero: true };
  /** Other threads may write it. A test plays them. */
  readonly shared = { path: 'memory', fd: -1, inMemory: true, endsWithin: undefined };
  /** The content that reads see. */
  readonly sectors: Uint32Array;
  /** The content that survives in any case. */
  private readonly durable: Uint32Array;
  /** By sector, what was written since, oldest first. Any prefix of it may have reached the medium. */
  private readonly pending = new Map<number, { readonly turn: number; readonly value: number }[]>();
  /** Counts writes, so that a flush knows which ones came before it. */
  private turn = 0;
  private gone = false;

  constructor(
    readonly sizeBytes: number,
    private readonly random: Random,
    survived?: Uint32Array,
  ) {
    this.durable = survived ?? new Uint32Array(sizeBytes / SECTOR);
    this.sectors = this.durable.slice();
  }

  /** The content of the medium after the power cut. Nothing reaches this disk afterwards. */
  cutPower(): Uint32Array {
    this.gone = true;
    const found = this.durable.slice();
    for (const [sector, values] of this.pending) {
      const reached = this.random.below(values.length + 1);
      if (reached > 0) found[sector] = values[reached - 1]!.value;
    }
    return found;
  }

  lendNow(): typeof WOULD_BLOCK {
    return WOULD_BLOCK;
  }

  writeNow(source: Buffer, start: number, length: number, offset: number): Errno | typeof WOULD_BLOCK {
    if (this.random.chance(3)) return WOULD_BLOCK;
    this.put(source, start, length, offset);
    return OK;
  }

  async write(source: Buffer, start: number, length: number, offset: number): Promise<Errno> {
    await someTurns(this.random);
    this.put(source, start, length, offset);
    return OK;
  }

  async flush(): Promise<Errno> {
    const turn = this.turn;
    await someTurns(this.random);
    if (this.gone) return OK;
    for (const [sector, values] of this.pending) {
      const later = values.findIndex((one) => one.turn > turn);
      const done = values.splice(0, later < 0 ? values.length : later);
      if (done.length > 0) this.durable[sector] = done.at(-1)!.value;
      if (values.length === 0) this.pending.delete(sector);
    }
    return OK;
  }

  readNow(target: Buffer, start: number, length: number, offset: number): Errno | typeof WOULD_BLOCK {
    if (this.random.chance(3)) return WOULD_BLOCK;
    this.take(target, start, length, offset);
    return OK;
  }

  async read(target: Buffer, start: number, length: number, offset: number): Promise<Errno> {
    await someTurns(this.random);
    this.take(target, start, length, offset);
    return OK;
  }

  holeNow(): number {
    return 0;
  }

  async zero(offset: number, length: number): Promise<Errno> {
    await someTurns(this.random);
    this.put(Buffer.alloc(length), 0, length, offset);
    return OK;
  }

  trim(offset: number, length: number): Promise<Errno> {
    return this.zero(offset, length);
  }

  async cache(): Promise<Errno> {
    return OK;
  }

  async extents(_offset: number, length: number, list: ExtentList): Promise<Errno> {
    list.add(length, 0);
    return OK;
  }

  async close(): Promise<void> {}

  private take(target: Buffer, start: number, length: number, offset: number): void {
    target.fill(0, start, start + length);
    for (let at = 0; at < length; at += SECTOR) target.writeUInt32LE(this.sectors[(offset + at) / SECTOR]!, start + at);
  }

  private put(source: Buffer, start: number, length: number, offset: number): void {
    if (this.gone) return;
    this.turn++;
    for (let at = 0; at < length; at += SECTOR) {
      const sector = (offset + at) / SECTOR;
      const value = source.readUInt32LE(start + at);
      this.sectors[sector] = value;
      const values = this.pending.get(sector);
      if (values) values.push({ turn: this.turn, value });
      else this.pending.set(sector, [{ turn: this.turn, value }]);
    }
  }
}

/**
 * A store of entire commits in order, like LMDB. After a power cut it is as some commit left it, the last answered one
 * or a later one. It can also fail on request.
 */
export class UnreliableStore extends MemoryEntries implements EntryStore {
  private readonly unanswered: (readonly Change[])[] = [];
  private queue: Promise<void> = Promise.resolve();
  private gone = false;
  /** One in this many commits fails, half of them after they have taken effect. 0 if none fails. */
  failOneIn = 0;

  constructor(
    private readonly random: Random,
    survived: Map<string, Buffer> = new Map(),
  ) {
    super(new Map(survived));
  }

  /** The store after the power cut: the answered commits, and perhaps some of those in flight. */
  cutPower(): Map<string, Buffer> {
    this.gone = true;
    const found = new Map(this.content);
    for (const changes of this.unanswered.slice(0, this.random.below(this.unanswered.length + 1)))
      this.put(changes, found);
    return found;
  }

  commit(changes: readonly Change[]): Promise<void> {
    this.unanswered.push(changes);
    this.queue = this.queue.catch(() => {}).then(() => this.carryOut(changes));
    return this.queue;
  }

  private async carryOut(changes: readonly Change[]): Promise<void> {
    await someTurns(this.random);
    if (this.gone) return new Promise(() => {});
    this.unanswered.shift();
    const fails = this.failOneIn > 0 && this.random.chance(this.failOneIn);
    if (!fails || this.random.chance(2)) this.put(changes);
    if (fails) throw Object.assign(new Error('the store fails'), { errno: -28 });
    await someTurns(this.random);
    if (this.gone) return new Promise(() => {});
  }
}

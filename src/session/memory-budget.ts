import { KIB, MIB } from '../base/units.js';
import { MAX_UNAGREED_PAYLOAD_BYTES } from '../protocol/constants.js';

/**
 * Memory that every connection has for itself: enough for a write of 1 MiB in the receive buffer, and for a copy of it
 * that waits for the disk. So requests of that size never depend on other connections.
 */
export const OWN_BYTES = 2 * MIB + 128 * KIB;
/** Enough for the largest write, and as much again for other connections. */
export const MIN_BUDGET_BYTES = 2 * MAX_UNAGREED_PAYLOAD_BYTES;
/** A connection that waits and holds no shared memory goes first for this long. Then others may overtake it. */
const PRECEDENCE_MILLISECONDS = 5_000;

/** How often to look whether another thread has given memory back. */
const LOOK_AGAIN_MILLISECONDS = 20;

/** The part of a budget that one thread uses. */
export interface BudgetPart {
  /** How many bytes each thread uses. Each changes only its own number, so two may take the last bytes at once. */
  readonly use: Float64Array;
  /** How many connections of each thread wait. */
  readonly waiting: Float64Array;
  /** Since when the connection of each thread waits that goes first there; 0 if there is none. */
  readonly firstSince: Float64Array;
  readonly index: number;
}

export interface MemoryUse {
  /** Shared memory that connections hold. */
  readonly usedBytes: number;
  readonly limitBytes: number;
  /** Connections that wait for shared memory. */
  readonly waitingConnections: number;
}

/**
 * The memory that the connections of a server share, in addition to what each has for itself. A connection that gets
 * none stops reading from its client until others give some back.
 *
 * Sharing is fair without fixed shares. A connection that holds shared memory gets more only if at least as much as it
 * would then hold stays free, so a newcomer always finds some. A connection that holds none may take everything that is
 * free, and goes first for a while.
 */
export class MemoryBudget {
  /** Oldest first. */
  private readonly waiting = new Set<MemoryAccount>();
  private wakeIsDue = false;
  private lookingAgain: NodeJS.Timeout | undefined;

  constructor(
    private readonly limitBytes: number,
    private readonly now: () => number = clock,
    private readonly part: BudgetPart = { ...partsOf(1), index: 0 },
  ) {}

  get use(): MemoryUse {
    return { usedBytes: this.used, limitBytes: this.limitBytes, waitingConnections: sumOf(this.part.waiting) };
  }

  /** In all threads. */
  private get used(): number {
    return sumOf(this.part.use);
  }

  /** `onRoom` is called when the claim that was refused last would succeed: claim again, or call `waive`. */
  open(onRoom: () => void): MemoryAccount {
    return new MemoryAccount(this, onRoom);
  }

  admits(account: MemoryAccount, bytes: number): boolean {
    const after = account.heldBytes + bytes;
    if (after <= OWN_BYTES) return true;
    const free = this.limitBytes - this.used - (after - Math.max(account.heldBytes, OWN_BYTES));
    const first = this.firstInNeed();
    if (free < 0 || (first !== undefined && first !== account)) return false;
    if (this.isPrecededElsewhere(first?.waitingSinceMilliseconds)) return false;
    return account.sharedBytes === 0 || after - OWN_BYTES <= free;
  }

  changed(bytes: number): void {
    const { use, index } = this.part;
    use[index] = use[index]! + bytes;
    this.tellOthers();
    if (bytes < 0) this.wakeSoon();
  }

  wait(account: MemoryAccount): void {
    if (this.waiting.has(account)) return;
    account.waitingSinceMilliseconds = this.now();
    this.waiting.add(account);
    this.tellOthers();
    if (this.part.use.length > 1) this.lookAgain();
  }

  isWaiting(account: MemoryAccount): boolean {
    return this.waiting.has(account);
  }

  leave(account: MemoryAccount): void {
    // Others may have waited because this account went first.
    if (!this.waiting.delete(account)) return;
    this.tellOthers();
    this.wakeSoon();
  }

  /** The oldest waiting account without shared memory that still has precedence. */
  private firstInNeed(): MemoryAccount | undefined {
    if (this.waiting.size === 0) return undefined;
    const since = this.now() - PRECEDENCE_MILLISECONDS;
    for (const account of this.waiting) {
      if (account.sharedBytes === 0 && account.waitingSinceMilliseconds > since) return account;
    }
    return undefined;
  }

  /** Whether a connection of another thread goes before one that has waited since then, or does not wait. */
  private isPrecededElsewhere(since = Number.POSITIVE_INFINITY): boolean {
    const { firstSince, index } = this.part;
    const earliest = Math.max(this.now() - PRECEDENCE_MILLISECONDS, 0);
    return firstSince.some((other, thread) => thread !== index && other > earliest && other < since);
  }

  private tellOthers(): void {
    const { waiting, firstSince, index } = this.part;
    waiting[index] = this.waiting.size;
    firstSince[index] = this.firstInNeed()?.waitingSinceMilliseconds ?? 0;
  }

  /** Other threads do not say when they give memory back. */
  private lookAgain(): void {
    this.lookingAgain ??= setTimeout(() => {
      this.lookingAgain = undefined;
      this.tellOthers();
      this.wakeSoon();
      if (this.waiting.size > 0) this.lookAgain();
    }, LOOK_AGAIN_MILLISECONDS);
  }

  /** Wakes waiting accounts later, because the caller is in the middle of something. */
  private wakeSoon(): void {
    if (this.wakeIsDue || this.waiting.size === 0) return;
    this.wakeIsDue = true;
    queueMicrotask(() => {
      this.wakeIsDue = false;
      for (const account of [...this.waiting]) {
        // It stays in the queue until it claims, or the one behind it would have precedence by then.
        if (this.waiting.has(account) && this.admits(account, account.wantedBytes)) account.onRoom();
      }
    });
  }
}

/** In memory that these threads share. */
export function partsOf(threads: number): Omit<BudgetPart, 'index'> {
  const perThread = () => new Float64Array(new SharedArrayBuffer(threads * Float64Array.BYTES_PER_ELEMENT));
  return { use: perThread(), waiting: perThread(), firstSince: perThread() };
}

/** Milliseconds, the same in all threads. */
function clock(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

function sumOf(numbers: Float64Array): number {
  return numbers.reduce((sum, number) => sum + number, 0);
}

/** The memory of one connection: the sum of its claims. */
export class MemoryAccount {
  heldBytes = 0;
  /** The claim that was refused last. */
  wantedBytes = 0;
  waitingSinceMilliseconds = 0;
  private closed = false;

  constructor(
    private readonly budget: MemoryBudget,
    readonly onRoom: () => void,
  ) {}

  /** How much of the shared memory it holds. */
  get sharedBytes(): number {
    return Math.max(0, this.heldBytes - OWN_BYTES);
  }

  get waiting(): boolean {
    return this.budget.isWaiting(this);
  }

  /** Claims `bytes`. Returns undefined when they are not available: then wait for `onRoom`. */
  claim(bytes: number): MemoryClaim | undefined {
    const claim = new MemoryClaim(this);
    return claim.grow(bytes) ? claim : undefined;
  }

  /** Counts `bytes` that are in use already. */
  hold(bytes: number): MemoryClaim {
    const claim = new MemoryClaim(this);
    claim.resize(bytes);
    return claim;
  }

  /** Whether it may hold `bytes` more. If not, it waits for them. */
  admits(bytes: number): boolean {
    if (this.budget.admits(this, bytes)) {
      this.budget.leave(this);
      return true;
    }
    this.wantedBytes = bytes;
    this.budget.wait(this);
    return false;
  }

  /** For `MemoryClaim` alone. */
  change(bytes: number): void {
    if (this.closed) return;
    const before = this.sharedBytes;
    this.heldBytes += bytes;
    const more = this.sharedBytes - before;
    if (more !== 0) this.budget.changed(more);
  }

  /** Withdraws a refused claim. */
  waive(): void {
    if (this.waiting) this.budget.leave(this);
  }

  /** Gives everything back, even what a claim still holds. */
  close(): void {
    this.change(-this.heldBytes);
    this.closed = true;
    this.budget.leave(this);
  }
}

/** Memory that its owner, and nobody else, changes and releases. */
export class MemoryClaim {
  private held = 0;

  constructor(private readonly account: MemoryAccount) {}

  get bytes(): number {
    return this.held;
  }

  /** Grows to `bytes`. Returns false, with nothing changed, when they are not available: then wait for `onRoom`. */
  grow(bytes: number): boolean {
    if (!this.account.admits(bytes - this.held)) return false;
    this.resize(bytes);
    return true;
  }

  /** Counts what is in use now, more or less than before, whether or not it is available. */
  resize(bytes: number): void {
    this.account.change(bytes - this.held);
    this.held = bytes;
  }

  release(): void {
    this.resize(0);
  }
}

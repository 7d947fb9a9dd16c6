import { KIB, MIB } from '../base/units.js';
import { MAX_UNAGREED_PAYLOAD_BYTES } from '../protocol/constants.js';

/**
 * What each connection has of its own: a write of 1 MiB, once in the receive buffer and once in a copy that waits, with their
 * headers. So no connection depends on others for requests of that size.
 */
export const OWN_BYTES = 2 * MIB + 128 * KIB;
/** A write of the largest kind, and as much again for others. */
export const MIN_BUDGET_BYTES = 2 * MAX_UNAGREED_PAYLOAD_BYTES;
/** For so long nobody overtakes a connection that waits and holds nothing. Then what it wants may be too much for now. */
const PRECEDENCE_MILLISECONDS = 5_000;

export interface MemoryUse {
  /** What connections hold beyond their own. */
  readonly usedBytes: number;
  readonly limitBytes: number;
  /** Connections that wait for some. */
  readonly waitingConnections: number;
}

/**
 * The memory that the connections of a server share, beyond what each has of its own. A connection that finds too little reads
 * no more from its client until others give some back.
 *
 * Sharing is fair without counting anybody's share: whoever holds some gets more only if as much as it then holds is still free,
 * so a newcomer always finds something. Whoever holds none may take all that is free, and takes precedence for a while.
 */
export class MemoryBudget {
  private used = 0;
  /** In the order in which they began to wait. */
  private readonly waiting = new Set<MemoryAccount>();
  private wakeIsDue = false;

  constructor(
    private readonly limitBytes: number,
    private readonly now: () => number = () => performance.now(),
  ) {}

  get use(): MemoryUse {
    return { usedBytes: this.used, limitBytes: this.limitBytes, waitingConnections: this.waiting.size };
  }

  /** `onRoom` is called while there is what was refused last: then claim it, or waive it. */
  open(onRoom: () => void): MemoryAccount {
    return new MemoryAccount(this, onRoom);
  }

  admits(account: MemoryAccount, bytes: number): boolean {
    const after = account.heldBytes + bytes;
    if (after <= OWN_BYTES) return true;
    const free = this.limitBytes - this.used - (after - Math.max(account.heldBytes, OWN_BYTES));
    const first = this.firstInNeed();
    if (free < 0 || (first !== undefined && first !== account)) return false;
    return account.sharedBytes === 0 || after - OWN_BYTES <= free;
  }

  changed(bytes: number): void {
    this.used += bytes;
    if (bytes < 0) this.wakeSoon();
  }

  wait(account: MemoryAccount): void {
    if (this.waiting.has(account)) return;
    account.waitingSinceMilliseconds = this.now();
    this.waiting.add(account);
  }

  isWaiting(account: MemoryAccount): boolean {
    return this.waiting.has(account);
  }

  leave(account: MemoryAccount): void {
    // Others may have waited for it to go first.
    if (this.waiting.delete(account)) this.wakeSoon();
  }

  /** The first that waits and holds nothing but its own, as long as it has precedence. */
  private firstInNeed(): MemoryAccount | undefined {
    if (this.waiting.size === 0) return undefined;
    const since = this.now() - PRECEDENCE_MILLISECONDS;
    for (const account of this.waiting) {
      if (account.sharedBytes === 0 && account.waitingSinceMilliseconds > since) return account;
    }
    return undefined;
  }

  /** Later, because whoever gives back is in the middle of something. */
  private wakeSoon(): void {
    if (this.wakeIsDue || this.waiting.size === 0) return;
    this.wakeIsDue = true;
    queueMicrotask(() => {
      this.wakeIsDue = false;
      for (const account of [...this.waiting]) {
        // It keeps its place meanwhile: else whoever waits behind it would be first when it asks.
        if (this.waiting.has(account) && this.admits(account, account.wantedBytes)) account.onRoom();
      }
    });
  }
}

/** What one connection holds. */
export class MemoryAccount {
  heldBytes = 0;
  /** Of the claim that was refused last. */
  wantedBytes = 0;
  waitingSinceMilliseconds = 0;
  private closed = false;

  constructor(
    private readonly budget: MemoryBudget,
    readonly onRoom: () => void,
  ) {}

  /** Its part of the budget. */
  get sharedBytes(): number {
    return Math.max(0, this.heldBytes - OWN_BYTES);
  }

  get waiting(): boolean {
    return this.budget.isWaiting(this);
  }

  /** Takes `bytes`. False, and nothing taken, when they are not to be had now: then wait for `onRoom`. */
  claim(bytes: number): boolean {
    if (!this.budget.admits(this, bytes)) {
      this.wantedBytes = bytes;
      this.budget.wait(this);
      return false;
    }
    this.add(bytes);
    this.budget.leave(this);
    return true;
  }

  /** For memory that is there already, and for what is given back: `bytes` may be negative. */
  add(bytes: number): void {
    if (this.closed) return;
    const before = this.sharedBytes;
    this.heldBytes += bytes;
    const more = this.sharedBytes - before;
    if (more !== 0) this.budget.changed(more);
  }

  /** Wants nothing any more. */
  waive(): void {
    if (this.waiting) this.budget.leave(this);
  }

  close(): void {
    this.add(-this.heldBytes);
    this.closed = true;
    this.budget.leave(this);
  }
}

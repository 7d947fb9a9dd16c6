import { assert } from '../base/assert.js';
import { type Errno, WOULD_BLOCK } from '../base/errno.js';
import type { ZeroOptions } from './block-device.js';
import { FilterDevice } from './filter-device.js';

interface HeldChange {
  /** By the clock of performance.now. */
  readonly since: number;
  readonly goOn: () => void;
}

/**
 * Lets changes through, and can be closed to them for an instant: `quiesce` waits for those in flight and holds back
 * new ones until `resume`. In between nothing changes below, so whatever is done there is a cut: each write is wholly
 * before it or wholly after. Reads, and flushes, always pass.
 */
export class WriteGate extends FilterDevice {
  private inFlight = 0;
  private closed = false;
  private drained: () => void = () => {};
  private readonly held: HeldChange[] = [];

  /** Closes the gate; resolves when no change is in flight. The caller owes a `resume`, and is the only one who may. */
  quiesce(): Promise<void> {
    assert(!this.closed, 'a gate is closed by one at a time');
    this.closed = true;
    if (this.inFlight === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.drained = resolve;
    });
  }

  /** Opens the gate again, in the order in which changes came. Returns how long each was held back, in milliseconds. */
  resume(): number[] {
    assert(this.closed, 'only a closed gate is opened');
    this.closed = false;
    const now = performance.now();
    return this.held.splice(0).map(({ since, goOn }) => {
      goOn();
      return now - since;
    });
  }

  override writeNow(source: Buffer, start: number, length: number, offset: number): Errno | typeof WOULD_BLOCK {
    return this.closed ? WOULD_BLOCK : this.inner.writeNow(source, start, length, offset);
  }

  override write(source: Buffer, start: number, length: number, offset: number): Promise<Errno> {
    return this.pass(() => this.inner.write(source, start, length, offset));
  }

  override zero(offset: number, length: number, options: ZeroOptions): Promise<Errno> {
    return this.pass(() => this.inner.zero(offset, length, options));
  }

  override trim(offset: number, length: number): Promise<Errno> {
    return this.pass(() => this.inner.trim(offset, length));
  }

  private async pass(change: () => Promise<Errno>): Promise<Errno> {
    // It may have been closed anew before this change had its turn; once open, it is counted in the same breath.
    while (this.closed) {
      const since = performance.now();
      await new Promise<void>((goOn) => this.held.push({ since, goOn }));
    }
    this.inFlight++;
    try {
      return await change();
    } finally {
      this.inFlight--;
      if (this.inFlight === 0) this.drained();
    }
  }
}

import { assert } from '../base/assert.js';
import { type Errno, WOULD_BLOCK } from '../base/errno.js';
import type { BlockDevice, ZeroOptions } from './block-device.js';
import { FilterDevice } from './filter-device.js';

/**
 * Lets changes through, and can be closed to them for an instant: `quiesce` waits for those in flight and holds back
 * new ones until `resume`. In between nothing changes below, so whatever is done there is a cut: each write is wholly
 * before it or wholly after. Reads, and flushes, always pass.
 */
export class WriteGate extends FilterDevice {
  private inFlight = 0;
  private closed = false;
  private drained: () => void = () => {};
  private readonly held: (() => void)[] = [];

  /** `onWait` is told how long each change was held back, in milliseconds. */
  constructor(
    inner: BlockDevice,
    private readonly onWait: (milliseconds: number) => void = () => {},
  ) {
    super(inner);
  }

  /** Closes the gate; resolves when no change is in flight. The caller owes a `resume`, and is the only one who may. */
  quiesce(): Promise<void> {
    assert(!this.closed, 'a gate is closed by one at a time');
    this.closed = true;
    if (this.inFlight === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.drained = resolve;
    });
  }

  /** Opens the gate again, in the order in which changes came. */
  resume(): void {
    assert(this.closed, 'only a closed gate is opened');
    this.closed = false;
    for (const goOn of this.held.splice(0)) goOn();
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
    const since = performance.now();
    const held = this.closed;
    // It may have been closed anew before this change had its turn; once open, it is counted in the same breath.
    while (this.closed) await new Promise<void>((goOn) => this.held.push(goOn));
    this.inFlight++;
    if (held) this.onWait(performance.now() - since);
    try {
      return await change();
    } finally {
      this.inFlight--;
      if (this.inFlight === 0) this.drained();
    }
  }
}

import { assert } from '../../base/assert.js';
import { type Errno, OK, WOULD_BLOCK } from '../../base/errno.js';
import type { WritePermits } from '../permits/write-permits.js';
import type { ZeroOptions } from './block-device.js';
import { FilterDevice } from './filter-device.js';
import type { PagePipe } from './page-pipe.js';

interface HeldChange {
  /** A time of performance.now(). */
  readonly since: number;
  readonly goOn: () => void;
}

/** The changes that began between two calls of `settled`. */
class Epoch {
  inFlight = 0;
  ended: () => void = () => {};
}

/**
 * Can be closed to changes for a moment: `quiesce` holds back new changes and waits for those in flight, until `resume`
 * lets them continue. In between nothing changes below the gate, so every write is either wholly before or wholly after
 * what is done there. Reads and flushes always pass.
 */
export class WriteGate extends FilterDevice {
  /** What other threads may write past this gate; undefined while none does. */
  permits: WritePermits | undefined;
  private epoch = new Epoch();
  /** Resolves when no change of an earlier epoch is in flight any more. */
  private earlier: Promise<unknown> = Promise.resolve();
  private closed = false;
  private readonly held: HeldChange[] = [];

  /** Resolves when every change that is in flight now has ended. The gate stays open. */
  async settled(): Promise<void> {
    const { epoch } = this;
    if (epoch.inFlight > 0) {
      const ended = new Promise<void>((resolve) => {
        epoch.ended = resolve;
      });
      this.earlier = Promise.all([this.earlier, ended]);
      this.epoch = new Epoch();
    }
    await Promise.all([this.earlier, this.permits?.quiet()]);
  }

  /**
   * Closes the gate, and resolves when no change is in flight. The caller, and nobody else, must call `resume`. A
   * caller that does not want to wait any longer may do so early.
   */
  quiesce(): Promise<void> {
    assert(!this.closed, 'a gate is closed by one at a time');
    this.closed = true;
    this.permits?.withdraw();
    return this.settled();
  }

  /** Opens the gate for held changes, in order of arrival. Returns how long each was held back, in milliseconds. */
  resume(): number[] {
    assert(this.closed, 'only a closed gate is opened');
    this.closed = false;
    const now = performance.now();
    return this.held.splice(0).map(({ since, goOn }) => {
      goOn();
      return now - since;
    });
  }

  override lendNow(pipe: PagePipe, length: number, offset: number): typeof OK | typeof WOULD_BLOCK {
    return this.inner.lendNow(pipe, length, offset);
  }

  override writeNow(source: Buffer, start: number, length: number, offset: number): Errno | typeof WOULD_BLOCK {
    if (this.closed) return WOULD_BLOCK;
    const errno = this.inner.writeNow(source, start, length, offset);
    if (this.permits !== undefined && errno === OK) this.permits.grantAndOpen(offset, length);
    return errno;
  }

  override write(source: Buffer, start: number, length: number, offset: number): Promise<Errno> {
    return this.pass(async () => {
      const errno = await this.inner.write(source, start, length, offset);
      // Once the gate is closed, the permits for what follows are not those of what came before.
      if (errno === OK && !this.closed) this.permits?.grant(offset, length);
      return errno;
    });
  }

  override zero(offset: number, length: number, options: ZeroOptions): Promise<Errno> {
    return this.pass(() => this.longChange(() => this.inner.zero(offset, length, options)));
  }

  override trim(offset: number, length: number): Promise<Errno> {
    return this.pass(() => this.longChange(() => this.inner.trim(offset, length)));
  }

  /** After a flush that failed, the device takes no more writes. */
  override async flush(): Promise<Errno> {
    const errno = await this.inner.flush();
    if (errno !== OK) this.permits?.close();
    return errno;
  }

  private async longChange(change: () => Promise<Errno>): Promise<Errno> {
    const ended = this.permits?.duringLongChange();
    try {
      return await change();
    } finally {
      ended?.();
    }
  }

  private async pass(change: () => Promise<Errno>): Promise<Errno> {
    // The gate may have been closed again before this change resumed. Nothing is awaited between the check and the
    // count.
    while (this.closed) {
      const since = performance.now();
      await new Promise<void>((goOn) => this.held.push({ since, goOn }));
    }
    const { epoch } = this;
    epoch.inFlight++;
    try {
      return await change();
    } finally {
      epoch.inFlight--;
      if (epoch.inFlight === 0) epoch.ended();
    }
  }
}

import { MIB } from '../base/units.js';

/** A change that the server has acknowledged: data, or zeroes. */
export interface Change {
  readonly offset: number;
  readonly length: number;
  readonly data?: Buffer;
}

/** The part of an NBD client that makes changes. */
interface ChangeSink {
  write(offset: number, data: Buffer): Promise<void>;
  zero(offset: number, length: number): Promise<void>;
}

/** From how many bytes on a flush begins. */
const FLUSH_BYTES = 64 * MIB;
/** While so many are kept, new changes wait for the flush. */
const MAX_BYTES = 2 * FLUSH_BYTES;
/** What a change costs beside its data, so that their number is limited too. */
const CHANGE_BYTES = 4096;
const CHANGES_AT_ONCE = 16;

/**
 * Copies of the changes that a server may lose when it restarts, because no flush has made them durable yet. Without
 * them, a restore that goes on after a lost connection could miss some.
 */
export class UnflushedChanges {
  private since: Change[] = [];
  /** Those that the flush in progress makes durable. */
  private covered: Change[] = [];
  private bytes = 0;
  private flushing: Promise<void> | undefined;
  /** A flush that failed once is not believed later. */
  private failure: unknown;

  constructor(private readonly flush: () => Promise<void>) {}

  /** Call it as soon as a change is acknowledged. Its data is copied. Resolves when there is room for more. */
  async keep({ offset, length, data }: Change): Promise<void> {
    this.since.push({ offset, length, ...(data && { data: Buffer.from(data) }) });
    this.bytes += costOf(length, data);
    if (this.bytes >= FLUSH_BYTES) this.flushing ??= this.makeDurable();
    while (this.bytes >= MAX_BYTES && this.failure === undefined) {
      this.flushing ??= this.makeDurable();
      await this.flushing;
    }
    if (this.failure !== undefined) throw this.failure;
  }

  /** Makes everything durable. Rejects if that ever failed. */
  async finish(): Promise<void> {
    await this.flushing;
    if (this.failure === undefined) await this.makeDurable();
    if (this.failure !== undefined) throw this.failure;
  }

  /** Makes the changes again, for a server that may have lost them. */
  async repeat(sink: ChangeSink): Promise<void> {
    const changes = [...this.covered, ...this.since];
    for (let i = 0; i < changes.length; i += CHANGES_AT_ONCE) {
      const some = changes.slice(i, i + CHANGES_AT_ONCE);
      await Promise.all(
        some.map(({ offset, length, data }) => (data ? sink.write(offset, data) : sink.zero(offset, length))),
      );
    }
  }

  /** Never rejects. */
  private async makeDurable(): Promise<void> {
    this.covered = this.since;
    this.since = [];
    try {
      await this.flush();
      for (const { length, data } of this.covered) this.bytes -= costOf(length, data);
      this.covered = [];
    } catch (error) {
      this.failure = error;
    }
    this.flushing = undefined;
  }
}

function costOf(length: number, data: Buffer | undefined): number {
  return CHANGE_BYTES + (data ? length : 0);
}

import { maskOf } from '../../base/word-mask.js';
import {
  ALLOWED_UNTIL,
  GENERATION,
  LONG_CHANGES,
  lastEndOf,
  OPEN,
  type PermitMemory,
  PIECE_BYTES,
  PIECES_IN_WORD,
  passesOf,
  SIZE_BYTES,
  STATE,
  WORDS_IN_CHUNK,
  writesOf,
} from './permit-memory.js';

/** What a thread may write without asking the owner of the disk: the other side of `WritePermits`. */
export class PermittedWrites {
  private readonly passesAt: number;
  private readonly lastEndAt: number;
  private readonly writesAt: number;

  constructor(
    private readonly memory: PermitMemory,
    slot: number,
  ) {
    this.passesAt = passesOf(slot);
    this.lastEndAt = lastEndOf(slot);
    this.writesAt = writesOf(slot);
  }

  get sizeBytes(): number {
    return this.memory.numbers[SIZE_BYTES]!;
  }

  /** Call it before each write. If it returns true, write at once. In both cases, call `end` with the result afterwards. */
  begin(offset: number, length: number): boolean {
    const { control, numbers } = this.memory;
    Atomics.add(control, this.passesAt, 1);
    return (
      Atomics.load(control, STATE) === OPEN &&
      control[LONG_CHANGES] === 0 &&
      Date.now() <= numbers[ALLOWED_UNTIL]! &&
      this.covers(offset, length)
    );
  }

  /** A write that the device did not take, or only a part of, counts like any other. */
  end(wasPermitted: boolean): void {
    const { control, numbers } = this.memory;
    if (wasPermitted) {
      numbers[this.lastEndAt] = Date.now();
      numbers[this.writesAt] = numbers[this.writesAt]! + 1;
    }
    Atomics.add(control, this.passesAt, 1);
  }

  private covers(offset: number, length: number): boolean {
    const { control, generations, permits } = this.memory;
    const generation = Atomics.load(control, GENERATION);
    const from = Math.floor(offset / PIECE_BYTES);
    const last = Math.floor((offset + length - 1) / PIECE_BYTES);
    const lastWord = Math.floor(last / PIECES_IN_WORD);
    if (lastWord >= permits.length) return false;
    for (let word = Math.floor(from / PIECES_IN_WORD); word <= lastWord; word++) {
      if (Atomics.load(generations, Math.floor(word / WORDS_IN_CHUNK)) !== generation) return false;
      const mask = maskOf(word, from, last + 1);
      if ((Atomics.load(permits, word) & mask) !== mask) return false;
    }
    return true;
  }
}

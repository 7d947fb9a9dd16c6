/** Bits in a word. Each bit stands for one index. */
const WORD_BITS = 32;

/**
 * A set of whole numbers below `capacity` that finds the next member after any number in a few steps, even when the set
 * is sparse. Each level has one bit for each word of the level below; the bit is set if that word is not 0.
 */
export class IndexSet {
  private readonly levels: Uint32Array[] = [];

  constructor(readonly capacity: number) {
    let words = Math.max(1, Math.ceil(capacity / WORD_BITS));
    this.levels.push(new Uint32Array(words));
    while (words > 1) {
      words = Math.ceil(words / WORD_BITS);
      this.levels.push(new Uint32Array(words));
    }
  }

  /** Puts every number below `capacity` into the set. */
  addAll(): void {
    let count = this.capacity;
    for (const level of this.levels) {
      const whole = Math.floor(count / WORD_BITS);
      level.fill(0xffffffff, 0, whole);
      if (count % WORD_BITS !== 0) level[whole] = 2 ** (count % WORD_BITS) - 1;
      count = Math.ceil(count / WORD_BITS);
    }
  }

  /** Takes over the members of a set of the same capacity. */
  copyFrom(other: IndexSet): void {
    for (let level = 0; level < this.levels.length; level++) this.levels[level]!.set(other.levels[level]!);
  }

  add(index: number): void {
    let member = index;
    for (let level = 0; level < this.levels.length; level++) {
      const words = this.levels[level]!;
      const word = member >>> 5;
      const before = words[word]!;
      words[word] = before | (1 << (member & 31));
      if (before !== 0) return;
      member = word;
    }
  }

  remove(index: number): void {
    let member = index;
    for (const level of this.levels) {
      const word = member >>> 5;
      const after = level[word]! & ~(1 << (member & 31));
      level[word] = after;
      if (after !== 0) return;
      member = word;
    }
  }

  /** The smallest member that is `from` or greater, or -1. */
  next(from: number): number {
    let index = from;
    for (let height = 0; height < this.levels.length; height++) {
      const level = this.levels[height]!;
      const word = index >>> 5;
      if (word >= level.length) return -1;
      const atOrAfter = level[word]! & (0xffffffff << (index & 31));
      if (atOrAfter !== 0) return this.descend(height, word * WORD_BITS + lowestBit(atOrAfter));
      index = word + 1;
    }
    return -1;
  }

  /** The smallest member that bit `index` of a level covers. */
  private descend(height: number, index: number): number {
    let member = index;
    for (let below = height - 1; below >= 0; below--) {
      member = member * WORD_BITS + lowestBit(this.levels[below]![member]!);
    }
    return member;
  }
}

/** The position of the lowest set bit; `word` must not be 0. */
export function lowestBit(word: number): number {
  return 31 - Math.clz32(word & -word);
}

/** The seed of a random test: TIDEMARK_SEED, or a new one. It is printed, so that the run can be repeated. */
export function testSeed(otherwise: number = Math.floor(Math.random() * 2 ** 31)): number {
  const seed = Number(process.env.TIDEMARK_SEED ?? otherwise);
  if (!Number.isSafeInteger(seed)) throw new Error(`TIDEMARK_SEED=${process.env.TIDEMARK_SEED} is not a whole number`);
  console.log(`TIDEMARK_SEED=${seed} repeats this run`);
  return seed;
}

/** Pseudo-random numbers, the same for the same seed (xorshift, 32 bits). */
export class Random {
  private state: number;

  constructor(readonly seed: number) {
    this.state = (seed * 2_654_435_761 + 88_675_123) >>> 0 || 1;
  }

  /** A whole number from 0 to `limit - 1`. */
  below(limit: number): number {
    this.state ^= this.state << 13;
    this.state ^= this.state >>> 17;
    this.state ^= this.state << 5;
    this.state >>>= 0;
    return this.state % limit;
  }

  chance(oneIn: number): boolean {
    return this.below(oneIn) === 0;
  }

  pick<Item>(items: readonly Item[]): Item {
    return items[this.below(items.length)]!;
  }
}

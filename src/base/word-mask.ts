const WORD_BITS = 32;
const ALL_ONES = -1;

/** The bits of a word of 32 bits that lie in the range [from, end), for a word that the range touches. */
export function maskOf(word: number, from: number, end: number): number {
  const start = word * WORD_BITS;
  const head = from > start ? ALL_ONES << (from - start) : ALL_ONES;
  return end < start + WORD_BITS ? head & ~(ALL_ONES << (end - start)) : head;
}

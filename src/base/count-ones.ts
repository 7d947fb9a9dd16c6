/** How many bits of a 32-bit word are set. */
export function countOnes(word: number): number {
  let pairs = word - ((word >>> 1) & 0x55555555);
  pairs = (pairs & 0x33333333) + ((pairs >>> 2) & 0x33333333);
  return Math.imul((pairs + (pairs >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

/**
 * How many bits are set in all the words together. Three words are added bit by bit, which leaves two words to count:
 * the low bits of the sums, and the high bits, which count twice. Source: carry-save adders, Warren, Hacker's Delight,
 * 5-1.
 */
export function countAllOnes(words: Uint32Array): number {
  let count = 0;
  let i = 0;
  for (; i + 2 < words.length; i += 3) {
    const a = words[i]! | 0;
    const b = words[i + 1]! | 0;
    const c = words[i + 2]! | 0;
    const either = a ^ b;
    count += countOnes(either ^ c) + 2 * countOnes((a & b) | (either & c));
  }
  for (; i < words.length; i++) count += countOnes(words[i]! | 0);
  return count;
}

/** How many bits of a word of 32 are set. */
export function countOnes(word: number): number {
  let pairs = word - ((word >>> 1) & 0x55555555);
  pairs = (pairs & 0x33333333) + ((pairs >>> 2) & 0x33333333);
  return Math.imul((pairs + (pairs >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

/**
 * How many bits of all the words are set. Three words at a time are added bit by bit, which leaves two to be counted: the
 * sums' lower bits, and the upper ones, which count twice. Source: carry-save adders, Warren, Hacker's Delight, 5-1.
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

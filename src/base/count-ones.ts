/** How many bits of a 32-bit word are set. */
export function countOnes(word: number): number {
  let pairs = word - ((word >>> 1) & 0x55555555);
  pairs = (pairs & 0x33333333) + ((pairs >>> 2) & 0x33333333);
  return Math.imul((pairs + (pairs >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

/**
 * How many bits are set in all the words together. Seven words are added bit by bit, which leaves three words to count:
 * the ones of the sums, the twos and the fours. Source: carry-save adders, Warren, Hacker's Delight, 5-1.
 */
export function countAllOnes(words: Uint32Array): number {
  let count = 0;
  let i = 0;
  for (; i + 6 < words.length; i += 7) {
    const a = words[i]! | 0;
    const b = words[i + 1]! | 0;
    const c = words[i + 2]! | 0;
    const ab = a ^ b;
    const abc = ab ^ c;
    const twosOfThree = (a & b) | (ab & c);
    const d = words[i + 3]! | 0;
    const e = words[i + 4]! | 0;
    const abcd = abc ^ d;
    const toE = abcd ^ e;
    const twosOfFive = (abc & d) | (abcd & e);
    const f = words[i + 5]! | 0;
    const g = words[i + 6]! | 0;
    const toF = toE ^ f;
    const twosOfSeven = (toE & f) | (toF & g);
    const twos = twosOfThree ^ twosOfFive;
    const fours = (twosOfThree & twosOfFive) | (twos & twosOfSeven);
    count += countOnes(toF ^ g) + 2 * countOnes(twos ^ twosOfSeven) + 4 * countOnes(fours);
  }
  for (; i < words.length; i++) count += countOnes(words[i]! | 0);
  return count;
}

/** How many bits are set from bit `from` up to and without bit `end`. */
export function countOnesWithin(words: Uint32Array, from: number, end: number): number {
  const first = from >>> 5;
  const last = (end - 1) >>> 5;
  const head = -1 << (from & 31);
  const tail = -1 >>> (31 - ((end - 1) & 31));
  if (first === last) return countOnes(words[first]! & head & tail);
  return (
    countOnes(words[first]! & head) + countAllOnes(words.subarray(first + 1, last)) + countOnes(words[last]! & tail)
  );
}

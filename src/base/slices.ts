/** Splits a range into parts of at most `most` bytes, in order. */
export function* slicesOf(offset: number, length: number, most: number): Generator<{ offset: number; length: number }> {
  const end = offset + length;
  for (let at = offset; at < end; at += most) yield { offset: at, length: Math.min(most, end - at) };
}

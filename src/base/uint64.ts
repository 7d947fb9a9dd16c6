/*
 * 64-bit numbers in network byte order, as a JavaScript number: two halves, because a BigInt would be allocated.
 */

/** A number above 2^53 is not exact, but it is still larger than every disk, so range checks refuse it. */
export function readUInt64(buffer: Buffer, at: number): number {
  return buffer.readUInt32BE(at) * 2 ** 32 + buffer.readUInt32BE(at + 4);
}

/** `value` is at most 2^53-1. */
export function putUInt64(target: Buffer, at: number, value: number): void {
  target.writeUInt32BE(Math.floor(value / 2 ** 32), at);
  target.writeUInt32BE(value >>> 0, at + 4);
}

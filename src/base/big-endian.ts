/* Numbers in network byte order. None of these functions allocates, as a BigInt would. */

/** The signed 32-bit number at `at`. For the hot path: the methods of Buffer take twice as long, but check bounds. */
export function readInt32(buffer: Buffer, at: number): number {
  return (buffer[at]! << 24) | (buffer[at + 1]! << 16) | (buffer[at + 2]! << 8) | buffer[at + 3]!;
}

/** Writes the low 32 bits of a number. */
export function writeInt32(buffer: Buffer, at: number, value: number): void {
  buffer[at] = value >>> 24;
  buffer[at + 1] = value >>> 16;
  buffer[at + 2] = value >>> 8;
  buffer[at + 3] = value;
}

/** The unsigned 64-bit number at `at`. It is not exact above 2^53, but still larger than every disk. */
export function readUInt64(buffer: Buffer, at: number): number {
  return (readInt32(buffer, at) >>> 0) * 2 ** 32 + (readInt32(buffer, at + 4) >>> 0);
}

/** The low 53 bits of the 64-bit number at `at`. They are exact, while a number of 64 bits would lose its lowest bits. */
export function readLowBits(buffer: Buffer, at: number): number {
  return (readInt32(buffer, at) & 0x1f_ffff) * 2 ** 32 + (readInt32(buffer, at + 4) >>> 0);
}

/** Writes a whole number up to 2^53 - 1 as 64 bits. */
export function writeUInt64(buffer: Buffer, at: number, value: number): void {
  writeInt32(buffer, at, Math.floor(value / 2 ** 32));
  writeInt32(buffer, at + 4, value);
}

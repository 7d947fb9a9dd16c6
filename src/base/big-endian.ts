/* Numbers in network byte order. None of these functions allocates, as a BigInt would. */

/** The signed 32-bit number at `at`. For the hot path: the methods of Buffer take twice as long. */
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
  return buffer.readUInt32BE(at) * 2 ** 32 + buffer.readUInt32BE(at + 4);
}

/** Writes a whole number up to 2^53 - 1 as 64 bits. */
export function writeUInt64(buffer: Buffer, at: number, value: number): void {
  buffer.writeUInt32BE(Math.floor(value / 2 ** 32), at);
  buffer.writeUInt32BE(value >>> 0, at + 4);
}

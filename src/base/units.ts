export const KIB = 1024;
export const MIB = 1024 * KIB;
export const GIB = 1024 * MIB;
export const TIB = 1024 * GIB;

/** The usual sector size. The size of an export is a multiple of it. */
export const SECTOR_BYTES = 512;

const bytesPerSuffix: Record<string, number> = { '': 1, K: KIB, M: MIB, G: GIB, T: TIB };

/**
 * Bytes in a size as a user writes it: a whole number with an optional binary suffix K, M, G or T (either case),
 * with or without a trailing B or iB. Undefined if the text is not a size, or the size is above 2^53-1.
 */
export function parseSize(text: string): number | undefined {
  const match = /^(\d+)([kmgt]?)(?:i?b)?$/i.exec(text.trim());
  if (!match) return undefined;
  const bytes = Number(match[1]) * bytesPerSuffix[match[2]!.toUpperCase()]!;
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/**
 * Milliseconds in a time as a user writes it: a whole number of `us`, `ms` or `s`. Undefined if the text is not such a
 * time.
 */
export function parseMilliseconds(text: string): number | undefined {
  const match = /^(\d{1,9})(us|ms|s)$/.exec(text.trim());
  if (!match) return undefined;
  const value = Number(match[1]);
  if (match[2] === 'us') return value / 1000;
  return match[2] === 'ms' ? value : value * 1000;
}

const secondsPerSuffix: Record<string, number> = { '': 1, s: 1, m: 60, h: 3600, d: 86_400 };

/** Seconds in a time as a user writes it, such as 90s, 30m, 12h or 7d. Undefined if the text is not a time. */
export function parseSeconds(text: string): number | undefined {
  const match = /^(\d{1,9})([smhd]?)$/.exec(text);
  return match ? Number(match[1]) * secondsPerSuffix[match[2]!]! : undefined;
}

const unitNames = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** Bytes as a person reads them: `64 KiB`, `1.5 GiB`, `512 B`. */
export function formatSize(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < unitNames.length - 1) {
    value /= 1024;
    unit++;
  }
  const digits = Number.isInteger(value) || value >= 100 ? 0 : 1;
  return `${value.toFixed(digits)} ${unitNames[unit]}`;
}

/** Bytes in the largest unit that needs no fraction: `1536 MiB`. */
export function formatExactSize(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value > 0 && value % 1024 === 0 && unit < unitNames.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${value} ${unitNames[unit]}`;
}

/** A count with its noun: `1 client`, `2 clients`. */
export function formatCount(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

export function isPowerOfTwo(value: number): boolean {
  return value > 0 && Number.isInteger(Math.log2(value));
}

/** `bytes`, rounded up to whole sectors. */
export function wholeSectors(bytes: number): number {
  return Math.ceil(bytes / SECTOR_BYTES) * SECTOR_BYTES;
}

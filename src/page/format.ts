import { formatSize } from '../base/units.js';

/** Bytes each second. */
export function formatRate(bytes: number): string {
  return `${formatSize(Math.round(bytes))}/s`;
}

/** A count each second: `12.3 k/s`. */
export function formatPerSecond(count: number): string {
  if (count >= 1_000_000) return `${(count / 1_000_000).toFixed(1)} M/s`;
  return count >= 10_000 ? `${(count / 1000).toFixed(1)} k/s` : `${Math.round(count)}/s`;
}

/** A part of a whole, in percent. */
export function formatShare(part: number, whole: number): string {
  if (whole === 0 || part === 0) return '0 %';
  const percent = (100 * part) / whole;
  return percent < 0.1 ? '< 0.1 %' : `${percent.toFixed(percent < 10 ? 1 : 0)} %`;
}

/** A time span in its two largest units: `2 h 5 min`. */
export function formatSpan(milliseconds: number): string {
  const seconds = Math.max(Math.round(milliseconds / 1000), 0);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return seconds % 60 === 0 || minutes >= 10 ? `${minutes} min` : `${minutes} min ${seconds % 60} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} days`;
}

/** How long a request took: `85 µs`, `1.2 ms`, `2.5 s`. */
export function formatLatency(seconds: number): string {
  const [amount, unit] =
    seconds >= 1 ? [seconds, 's'] : seconds >= 0.001 ? [1000 * seconds, 'ms'] : [1_000_000 * seconds, 'µs'];
  return `${amount.toFixed(amount < 10 && unit !== 'µs' ? 1 : 0)} ${unit}`;
}

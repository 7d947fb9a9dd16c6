import { formatSize } from '../base/units.js';
import { type Output, rewriteLine, writeLine } from './output.js';

/** How often a terminal shows something new, and a log. */
const REDRAW_MILLISECONDS = 200;
const LINE_MILLISECONDS = 30_000;

/** Bytes, rate and time left of one piece of work after the other: one line that changes on a terminal, else lines. */
export class Progress {
  private name = '';
  private startedAt = 0;
  private shownAt = 0;

  constructor(private readonly output: Output) {}

  /** So much is done of a piece of work; another name begins another. */
  update(name: string, doneBytes: number, totalBytes: number): void {
    const now = performance.now();
    if (name !== this.name) {
      this.name = name;
      this.startedAt = now;
      this.shownAt = now;
    }
    if (now - this.shownAt < (this.output.isTTY ? REDRAW_MILLISECONDS : LINE_MILLISECONDS)) return;
    this.shownAt = now;
    const line = describeProgress(name, doneBytes, totalBytes, (now - this.startedAt) / 1000);
    if (this.output.isTTY) rewriteLine(this.output, line);
    else writeLine(this.output, line);
  }

  /** Makes room for other output. */
  clear(): void {
    if (this.output.isTTY && this.shownAt > 0) rewriteLine(this.output, '');
  }
}

/** `vm1: 1.2 GiB of 4 GiB, 30 %, 412 MiB/s, 0:07 left` */
export function describeProgress(name: string, doneBytes: number, totalBytes: number, seconds: number): string {
  const bytesPerSecond = doneBytes / seconds;
  const percent = totalBytes === 0 ? 100 : Math.floor((100 * doneBytes) / totalBytes);
  const left = formatTime((totalBytes - doneBytes) / bytesPerSecond);
  const rate = formatSize(Math.round(bytesPerSecond));
  return `${name}: ${formatSize(doneBytes)} of ${formatSize(totalBytes)}, ${percent} %, ${rate}/s, ${left} left`;
}

/** `1:02:03`, or `2:03` below an hour. */
function formatTime(seconds: number): string {
  if (!Number.isFinite(seconds)) return '?';
  const whole = Math.ceil(seconds);
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const rest = String(whole % 60).padStart(2, '0');
  return hours > 0 ? `${hours}:${String(minutes).padStart(2, '0')}:${rest}` : `${minutes}:${rest}`;
}

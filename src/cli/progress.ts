import { formatSize } from '../base/units.js';
import { type Output, rewriteLine, writeLine } from './output.js';

/** How often the line on a terminal is redrawn, and how often a line is written to anything else. */
const REDRAW_MILLISECONDS = 200;
const LINE_MILLISECONDS = 30_000;

/** Shows bytes, rate and time left of one task after another: one changing line on a terminal, else separate lines. */
export class Progress {
  private name = '';
  private startedAt = 0;
  private shownAt = 0;

  constructor(private readonly output: Output) {}

  /** Reports how much of a task is done. A new name starts a new task. */
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

  /** Erases the line, so that other output can take its place. */
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

/** `1:02:03`, or `2:03` if under an hour. */
function formatTime(seconds: number): string {
  if (!Number.isFinite(seconds)) return '?';
  const whole = Math.ceil(seconds);
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const rest = String(whole % 60).padStart(2, '0');
  return hours > 0 ? `${hours}:${String(minutes).padStart(2, '0')}:${rest}` : `${minutes}:${rest}`;
}

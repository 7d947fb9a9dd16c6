import { setTimeout as delay } from 'node:timers/promises';
import { EAGAIN, EINTR } from '../base/errno.js';
import { printableJson } from '../base/printable.js';
import { formatCount, KIB, MIB } from '../base/units.js';
import type { LogChannel } from './log-channel.js';
import type { FormatLine } from './log-format.js';

/** The most to keep for a slow reader, and the most of the latest lines, which are kept in addition. */
const MAX_WAITING_BYTES = MIB;
const MAX_LATEST_BYTES = 64 * KIB;
const CHUNK_BYTES = 64 * KIB;
const RETRY_MILLISECONDS = 50;
const NEWLINE = 0x0a;
const PINO_WARN = 40;

/** Part of the log, and the number of lines that are lost if it is not written. */
interface Piece {
  readonly bytes: Buffer;
  readonly lines: number;
}

/**
 * Writes the lines of a logger without waiting for their reader. Lines that the reader does not accept at once are kept, up
 * to MAX_WAITING_BYTES. Further lines are dropped, except for the latest. A line in their place says how many.
 */
export class LogOutput {
  private waiting: Piece[] = [];
  private waitingBytes = 0;
  /** The data that is written next. */
  private chunk: Piece = { bytes: Buffer.alloc(0), lines: 0 };
  private dropped = 0;
  /** The lines that arrived while there was no room. The oldest are dropped first. */
  private latest: Piece[] = [];
  private latestBytes = 0;
  private inMidLine = false;
  private isBusy = false;

  /** Lines are JSON as pino writes it, until `format` has made what is written. */
  constructor(
    private readonly channel: LogChannel,
    private readonly format: FormatLine = printableJson,
  ) {}

  write(line: string): void {
    this.closeGap();
    const piece = { bytes: Buffer.from(this.format(line)), lines: 1 };
    const isFull = this.waitingBytes + piece.bytes.length > MAX_WAITING_BYTES;
    if (isFull || this.latest.length > 0) this.keepLatest(piece);
    else this.add(piece);
    this.advance();
  }

  /** Resolves when everything is written, or the reader has accepted nothing for the given time. */
  async end(patienceMilliseconds: number): Promise<void> {
    let leftBytes = Number.POSITIVE_INFINITY;
    for (let lastMs = performance.now(); performance.now() - lastMs < patienceMilliseconds; ) {
      if (this.waitingBytes === 0) return;
      if (this.waitingBytes < leftBytes) lastMs = performance.now();
      leftBytes = this.waitingBytes;
      await delay(RETRY_MILLISECONDS / 5);
    }
  }

  private add(piece: Piece): void {
    this.waiting.push(piece);
    this.waitingBytes += piece.bytes.length;
  }

  private keepLatest(piece: Piece): void {
    this.latest.push(piece);
    this.latestBytes += piece.bytes.length;
    while (this.latestBytes > MAX_LATEST_BYTES) {
      const oldest = this.latest.shift()!;
      this.latestBytes -= oldest.bytes.length;
      this.dropped += oldest.lines;
    }
  }

  /** Continues when half of the room is free again, so that gaps do not follow each other closely. */
  private closeGap(): void {
    if (this.waitingBytes > MAX_WAITING_BYTES / 2) return;
    if (this.dropped > 0) this.noteDropped();
    for (const piece of this.latest) this.add(piece);
    this.latest = [];
    this.latestBytes = 0;
  }

  private noteDropped(): void {
    const msg = `${formatCount(this.dropped, 'line')} of the log dropped, because they could not be written`;
    const note = this.format(`${JSON.stringify({ level: PINO_WARN, time: Date.now(), dropped: this.dropped, msg })}\n`);
    // The rest of a partly written line may have been dropped.
    const isCutOff = this.inMidLine && this.waitingBytes === 0;
    this.add({ bytes: Buffer.from(`${isCutOff ? '\n' : ''}${note}`), lines: this.dropped });
    this.dropped = 0;
  }

  private advance(): void {
    while (!this.isBusy && this.waitingBytes > 0) {
      if (this.chunk.bytes.length === 0) this.fillChunk();
      const result = this.channel(this.chunk.bytes);
      if (typeof result === 'number') this.written(result);
      else {
        this.isBusy = true;
        void result.then((later) => {
          this.isBusy = false;
          this.written(later);
          this.advance();
        });
      }
    }
  }

  private fillChunk(): void {
    let count = 0;
    for (let bytes = 0; count < this.waiting.length && bytes < CHUNK_BYTES; count++) {
      bytes += this.waiting[count]!.bytes.length;
    }
    const pieces = this.waiting.splice(0, count);
    this.chunk = {
      bytes: Buffer.concat(pieces.map((piece) => piece.bytes)),
      lines: pieces.reduce((sum, { lines }) => sum + lines, 0),
    };
  }

  private written(result: number): void {
    if (result > 0) {
      const { bytes } = this.chunk;
      this.inMidLine = bytes[result - 1] !== NEWLINE;
      this.waitingBytes -= result;
      this.chunk = { ...this.chunk, bytes: bytes.subarray(result) };
      this.closeGap();
    } else if (result === 0 || result === -EAGAIN) this.tryLater();
    else if (result !== -EINTR) this.dropAll();
  }

  private tryLater(): void {
    this.isBusy = true;
    const again = () => {
      this.isBusy = false;
      this.advance();
    };
    setTimeout(again, RETRY_MILLISECONDS).unref();
  }

  /** If lines cannot be written, the server continues without a log. */
  private dropAll(): void {
    this.dropped += this.waiting.reduce((sum, { lines }) => sum + lines, this.chunk.lines);
    this.chunk = { bytes: Buffer.alloc(0), lines: 0 };
    this.waiting = [];
    this.waitingBytes = 0;
  }
}

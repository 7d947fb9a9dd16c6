import { KIB, MIB } from '../../base/units.js';

/** Marks are set at least this far ahead of a writer, measured in the time it takes to get there. */
const LEAST_REACH_MS = 300;
/** A commit may have to wait for the one before it; this leaves room for both. */
const REACH_IN_COMMITS = 3;
/** Slow commits come in groups, so the slowest is remembered for this many ticks of the clock. */
const REMEMBERED_TICKS = 30;
/** Marks are asked for when less than this part of them is left ahead, so that one commit makes many of them. */
const PART_LEFT_AHEAD = 3 / 4;
/** It takes a commit to get a mark, so a shorter reach is not worth it. */
const LEAST_REACH_BYTES = 64 * KIB;

/** A writer that was heard of for the first time may be one that writes little. */
const MOST_EAGERNESS = 8;

/** How many sequential writers are followed at the same time. */
const MAX_WRITERS = 16;
/** Writes that are under way at the same time may arrive out of order: this many of them, or this much. */
const WRITES_AT_ONCE = 4;
const LEAST_STEP_BYTES = 64 * KIB;
const STEP_BACK_BYTES = MIB;
/** A larger request is not the write of a sequential writer but a trim, say. */
const LARGEST_WRITE_BYTES = 32 * MIB;
/** The speed of a writer is measured over one to two of these. */
const MEASURED_MS = 250;

/** A part of the disk in bytes, [from, end). */
export interface Part {
  readonly from: number;
  readonly end: number;
}

/** A writer that fills the disk without gaps. */
class SequentialWriter {
  /** Up to where marks were asked for. */
  askedEnd: number;
  private readonly start: number;
  /** It gets this many times as much ahead as it has written: more each time it has to wait for another commit. */
  private eagerness = 1;
  /** The commits that there were when it last waited. */
  private waitedAfter: number | undefined;
  private before: { readonly end: number; readonly at: number };
  private last: { readonly end: number; readonly at: number };

  /** `end` is the end of its first write. */
  constructor(
    private position: number,
    now: number,
  ) {
    this.start = position;
    this.askedEnd = position;
    this.before = { end: position, at: now };
    this.last = this.before;
  }

  /** Up to where it has written. */
  get end(): number {
    return this.position;
  }

  /** It has to wait for the commit after so many, so marks asked for ahead of it are late, or gone. */
  wait(commits: number): void {
    this.askedEnd = this.position;
    if (this.waitedAfter !== undefined && this.waitedAfter < commits) {
      this.eagerness = Math.min(this.eagerness * 2, MOST_EAGERNESS);
    }
    this.waitedAfter = commits;
  }

  advance(end: number, now: number): void {
    this.position = Math.max(this.position, end);
    if (now - this.last.at < MEASURED_MS) return;
    this.before = this.last;
    this.last = { end: this.position, at: now };
  }

  /** How much it writes in this time, as far as that can be told from what it has written so far. */
  reach(milliseconds: number, now: number): number {
    const speed = (this.position - this.before.end) / Math.max(now - this.before.at, 1);
    return Math.min(speed * milliseconds, this.eagerness * (this.position - this.start));
  }
}

/**
 * How far ahead of sequential writers marks are set, so that they do not wait for marks: as far as they get in 0.3
 * seconds, or in three times what the slowest commit of the last 30 seconds took, whichever is longer. Whatever is
 * named counts as dirty after a crash, so a slow writer gets little. Times are in milliseconds.
 */
export class LookAhead {
  /** The writer that was heard of last comes first. */
  private writers: SequentialWriter[] = [];
  /** The longest commit of each of the last ticks, by tick. */
  private readonly commits = new Array<number>(REMEMBERED_TICKS).fill(0);
  private now = 0;
  private commitCount = 0;

  /** `isWritten` tells whether a part of the disk is dirty, as a sequential writer leaves it. */
  constructor(
    private readonly maxBytes: number,
    private readonly isWritten: (part: Part) => boolean,
  ) {}

  /**
   * Notes a write that sets new bits. `waits` says that it is not marked itself, so marks asked for ahead of it may be
   * gone. Returns the part of the disk to mark ahead of it, if any.
   */
  note({ from, end }: Part, waits: boolean, now: number): Part | undefined {
    if (end - from > LARGEST_WRITE_BYTES) return undefined;
    const writer = this.writers.find((one) => this.continues(one, from, end));
    this.writers = [writer ?? new SequentialWriter(end, now), ...this.writers.filter((one) => one !== writer)];
    this.writers.length = Math.min(this.writers.length, MAX_WRITERS);
    if (!writer) return undefined;
    writer.advance(end, now);
    if (waits) writer.wait(this.commitCount);
    const reach = Math.min(writer.reach(this.reachMs, now), this.maxBytes);
    if (reach < LEAST_REACH_BYTES || writer.askedEnd - writer.end >= reach * PART_LEFT_AHEAD) return undefined;
    const ahead = { from: Math.max(writer.askedEnd, writer.end), end: Math.floor(writer.end + reach) };
    writer.askedEnd = ahead.end;
    return ahead;
  }

  noteCommit(milliseconds: number): void {
    this.commitCount++;
    this.commits[this.now] = Math.max(this.commits[this.now]!, milliseconds);
  }

  tick(): void {
    this.now = (this.now + 1) % REMEMBERED_TICKS;
    this.commits[this.now] = 0;
  }

  private get reachMs(): number {
    return Math.max(LEAST_REACH_MS, REACH_IN_COMMITS * Math.max(...this.commits));
  }

  /** Its writes in regions that are marked whole are not noted, so it may be further than it was last heard of. */
  private continues(writer: SequentialWriter, from: number, end: number): boolean {
    const step = Math.max(WRITES_AT_ONCE * (end - from), LEAST_STEP_BYTES);
    if (from >= writer.end - STEP_BACK_BYTES && from <= writer.end + step) return true;
    if (from < writer.end || from > writer.askedEnd + step) return false;
    const quarter = (from - writer.end) / 4;
    return this.isWritten({ from: writer.end + quarter, end: from - quarter });
  }
}

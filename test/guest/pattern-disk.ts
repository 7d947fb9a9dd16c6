import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { expect } from 'vitest';
import { KIB } from '../../src/base/units.js';
import { controlOf } from '../support/control.js';
import type { Range } from '../support/image.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { dirtyRanges } from '../support/status-map.js';
import { startTidemark, type Tidemark } from '../support/tidemark.js';
import type { NbdGuest } from './nbd-guest.js';

/** The granularity of the bitmap. */
const GRANULE_BYTES = 64 * KIB;

/** No file system writes this by itself, so a granule was written if and only if its content differs. */
const PATTERN = 'neither zero nor a file system. ';

/** A disk that a guest has attached, and what was on it when its bitmap was new or last cleared. */
export class PatternDisk {
  private base: Buffer;

  private constructor(
    readonly image: string,
    readonly server: Tidemark,
    /** Its path in the guest. */
    readonly device: string,
    private readonly guest: NbdGuest,
  ) {
    this.base = readFileSync(image);
  }

  /** Serves an image filled with the pattern, and attaches it with these options of nbd-client. */
  static async attach(guest: NbdGuest, sizeBytes: number, options: readonly string[] = []): Promise<PatternDisk> {
    const image = makePatternImage(sizeBytes);
    const server = await startTidemark(`disk=${image},bitmap=nightly:${GRANULE_BYTES}`);
    const device = await guest.attach('disk', server.port, options);
    return new PatternDisk(image, server, device, guest);
  }

  /** Resolves when the server has noticed too. */
  async detach(): Promise<void> {
    await this.guest.run(`nbd-client -d ${this.device}`);
    await expect.poll(() => this.connections()).toBe(0);
  }

  /** `nbd0` */
  get name(): string {
    return basename(this.device);
  }

  /** From now on nothing counts as changed. */
  async clearBitmap(): Promise<void> {
    const control = await controlOf(this.server);
    await control.call('POST', '/v1/exports/disk/bitmaps/nightly/clear');
    this.base = readFileSync(this.image);
  }

  async connections(): Promise<number> {
    const control = await controlOf(this.server);
    return (await control.call<{ connections: number }>('GET', '/v1/server')).connections;
  }

  /** What the server's log says about each closed connection of the guest. */
  bytesWrittenByConnection(): number[] {
    const lines = this.server
      .output()
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    const closed = lines.filter(({ msg, client }) => msg === 'connection closed' && client !== 'unix');
    return closed.map(({ bytesWritten }) => bytesWritten).filter((bytes) => bytes > 0);
  }

  /** The granules whose content has changed, as ranges. */
  changedRanges(): Range[] {
    return changedRanges(this.base, readFileSync(this.image));
  }

  dirtyRanges(): Promise<Range[]> {
    return dirtyRanges(this.server.uri('disk'), 'nightly');
  }

  /** How much of the image is allocated in the host's file system. */
  get allocatedBytes(): number {
    return statSync(this.image).blocks * 512;
  }
}

export function makePatternImage(sizeBytes: number): string {
  const path = join(scratchFolder(), 'disk.img');
  writeFileSync(path, Buffer.alloc(sizeBytes, PATTERN));
  return path;
}

/** The granules in which two contents differ, as merged ranges. */
export function changedRanges(one: Buffer, other: Buffer): Range[] {
  const ranges: Range[] = [];
  for (let offset = 0; offset < one.length; offset += GRANULE_BYTES) {
    const end = offset + GRANULE_BYTES;
    if (one.compare(other, offset, end, offset, end) === 0) continue;
    const last = ranges.at(-1);
    if (last && last.offset + last.length === offset) {
      ranges[ranges.length - 1] = { offset: last.offset, length: last.length + GRANULE_BYTES };
    } else ranges.push({ offset, length: GRANULE_BYTES });
  }
  return ranges;
}

export function totalBytes(ranges: readonly Range[]): number {
  return ranges.reduce((sum, { length }) => sum + length, 0);
}

/** The ranges that do not lie in one of the others. */
export function notCovered(ranges: readonly Range[], by: readonly Range[]): Range[] {
  const covers = (one: Range, other: Range) =>
    one.offset <= other.offset && other.offset + other.length <= one.offset + one.length;
  return ranges.filter((range) => !by.some((candidate) => covers(candidate, range)));
}

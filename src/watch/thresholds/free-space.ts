import { stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { isMissing } from '../../base/errno.js';
import { freeBytes } from '../../base/free-space.js';
import { Turnstile } from '../../base/turnstile.js';

const ASK_EVERY_MILLISECONDS = 10_000;
/** Paths of disks that were removed long ago are forgotten, with all others, when there are as many. */
const MAX_PATHS = 10_000;

interface Known {
  bytes: number | undefined;
  askedAt: number;
  isAsking: boolean;
}

/**
 * The free space of file systems, asked for in the background every ten seconds. One question is asked at a time, because
 * one about a file server that does not answer occupies a thread until it does.
 */
export class FreeSpace {
  private readonly known = new Map<string, Known>();
  private readonly turns = new Turnstile(1);

  /** `now` returns milliseconds; `askFor` asks about the file system of a path. */
  constructor(
    private readonly now: () => number = Date.now,
    private readonly askFor: (path: string) => Promise<number> = freeSpaceAt,
  ) {}

  /** Bytes at the last answer; undefined before the first. Infinity for what is on no file system. */
  of(path: string): number | undefined {
    if (this.known.size > MAX_PATHS) this.known.clear();
    const known = this.known.get(path) ?? { bytes: undefined, askedAt: Number.NEGATIVE_INFINITY, isAsking: false };
    this.known.set(path, known);
    if (!known.isAsking && this.now() - known.askedAt >= ASK_EVERY_MILLISECONDS) void this.ask(path, known);
    return known.bytes;
  }

  private async ask(path: string, known: Known): Promise<void> {
    known.isAsking = true;
    try {
      known.bytes = await this.turns.pass(() => this.askFor(path));
    } catch {
      known.bytes = undefined;
    }
    known.askedAt = this.now();
    known.isAsking = false;
  }
}

/** Of a folder that does not exist yet, that where it would be. A block device has none to run out of. */
async function freeSpaceAt(path: string): Promise<number> {
  try {
    const stats = await stat(path);
    if (stats.isBlockDevice()) return Number.POSITIVE_INFINITY;
    return freeBytes(await statfs(path));
  } catch (error) {
    if (!isMissing(error) || dirname(path) === path) throw error;
    return freeSpaceAt(dirname(path));
  }
}

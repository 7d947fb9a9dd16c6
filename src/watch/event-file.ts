import { appendFile, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { eventTypes, MAX_EVENTS } from '../api/values.js';
import type { Log } from '../base/log.js';
import { LogLimit } from '../base/log-limit.js';
import { MIB } from '../base/units.js';
import { renameDurably } from '../posix/replacement.js';
import type { KeptEvent, ServerEvent } from './happening.js';

/** A file of this size becomes the older one of two. */
const ROTATED_BYTES = 4 * MIB;
const OWNER_ONLY = 0o600;

/**
 * The events of a server as lines of JSON, in events.jsonl and, before those, events.1.jsonl. Lines are written one after
 * the other in the background and not synchronised: a power failure may lose the last ones. Lines that cannot be written
 * are lost, and so are lines that come while MAX_EVENTS wait for a slow disk.
 */
export class EventFile {
  private readonly path: string;
  private readonly olderPath: string;
  private readonly limit = new LogLimit();
  private queue: Promise<void> = Promise.resolve();
  private waiting = 0;
  private sizeBytes = 0;
  /** The greatest id in the files; 0 if there is none. */
  lastId = 0;

  constructor(
    directory: string,
    private readonly log: Log,
  ) {
    this.path = join(directory, 'events.jsonl');
    this.olderPath = join(directory, 'events.1.jsonl');
  }

  /** What earlier runs have written, oldest first. To be called before `append`. Events of unknown types are left out. */
  async read(): Promise<KeptEvent[]> {
    const older = await this.textOf(this.olderPath);
    const text = await this.textOf(this.path);
    this.sizeBytes = Buffer.byteLength(text);
    // After a crash in the middle of a write, the next line must not continue the torn one.
    if (text !== '' && !text.endsWith('\n')) this.append('\n');
    return `${older}\n${text}`.split('\n').flatMap((line) => this.parse(line));
  }

  append(line: string): void {
    if (this.waiting >= MAX_EVENTS) {
      this.complain(new Error('the disk of the state directory is too slow'));
      return;
    }
    this.waiting++;
    this.queue = this.queue
      .then(() => this.write(line))
      .catch((error: Error) => this.complain(error))
      .finally(() => this.waiting--);
  }

  /** Resolves when all lines are written. */
  settled(): Promise<void> {
    return this.queue;
  }

  private async write(line: string): Promise<void> {
    if (this.sizeBytes > ROTATED_BYTES) {
      await renameDurably(this.path, this.olderPath);
      this.sizeBytes = 0;
    }
    await appendFile(this.path, line, { mode: OWNER_ONLY });
    this.sizeBytes += Buffer.byteLength(line);
  }

  private parse(line: string): KeptEvent[] {
    try {
      const event = JSON.parse(line) as unknown;
      if (!isNumbered(event)) return [];
      this.lastId = Math.max(this.lastId, event.id);
      return isKnown(event) ? [{ event, bytes: Buffer.byteLength(line) }] : [];
    } catch {
      return [];
    }
  }

  private async textOf(path: string): Promise<string> {
    try {
      return await readFile(path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') this.complain(error as Error);
      return '';
    }
  }

  private complain(err: Error): void {
    const sinceLast = this.limit.admit('events');
    if (sinceLast === undefined) return;
    this.log.warn({ err, sinceLast }, 'the history of events is in memory only: its file cannot be read or written');
  }
}

function isNumbered(value: unknown): value is { readonly id: number } {
  return typeof value === 'object' && value !== null && Number.isSafeInteger((value as { id?: unknown }).id);
}

/** Other versions may have written events of types that this one does not know. */
function isKnown(event: object): event is ServerEvent {
  const { type, at } = event as Partial<ServerEvent>;
  return eventTypes.some((known) => known === type) && typeof at === 'string';
}

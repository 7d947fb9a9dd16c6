import type { DiskMap } from '../api/disk-map.js';
import type { ApiClient } from './api-client.js';
import type { Part } from './scale.js';

/** What a map is to show. */
export interface MapWish extends Part {
  readonly exportName: string;
  readonly sliceBytes: number;
  readonly bitmap?: string | undefined;
}

/** What is known of each slice of a part of a disk. The first slice may begin before the part. */
export interface Slices extends Part {
  readonly sliceBytes: number;
  readonly allocatedBytes: readonly number[];
  /** Undefined: no bitmap was asked for. */
  readonly bitmap?: string;
  readonly dirtyBytes?: readonly number[];
}

/** Asks for all slices, however many answers that takes. */
export async function loadSlices(client: ApiClient, wish: MapWish, signal?: AbortSignal): Promise<Slices> {
  const { offset, length, sliceBytes, bitmap } = wish;
  const first = Math.floor(offset / sliceBytes);
  const count = Math.ceil((offset + length) / sliceBytes) - first;
  const [allocatedBytes, dirtyBytes] = [new Array<number>(count).fill(0), new Array<number>(count).fill(0)];
  for (let at: number | null = offset; at !== null; ) {
    const answer: DiskMap = await client.get(addressOf(wish, at), signal);
    const from = Math.floor(answer.offset / sliceBytes) - first;
    addTo(allocatedBytes, from, answer.allocatedBytes);
    addTo(dirtyBytes, from, answer.dirtyBytes ?? []);
    at = answer.nextOffset;
  }
  return { offset, length, sliceBytes, allocatedBytes, ...(bitmap !== undefined && { bitmap, dirtyBytes }) };
}

function addTo(sums: number[], from: number, more: readonly number[]): void {
  more.forEach((bytes, index) => {
    sums[from + index]! += bytes;
  });
}

function addressOf({ exportName, offset, length, sliceBytes, bitmap }: MapWish, at: number): string {
  const amounts = { offset: at, length: offset + length - at, sliceBytes };
  const query = new URLSearchParams(
    Object.entries(amounts).map(([name, bytes]): [string, string] => [name, String(bytes)]),
  );
  if (bitmap !== undefined) query.set('bitmap', bitmap);
  return `/v1/exports/${encodeURIComponent(exportName)}/map?${query}`;
}

/** What became of a wish. */
export interface MapNews {
  readonly slices?: Slices;
  /** Why there is no map. */
  readonly fault?: string;
}

const PAUSE_MILLISECONDS = 1000;

/** Keeps a map up to date, with one request at a time. */
export class MapFeed {
  private wish: MapWish | undefined;
  private loading: AbortController | undefined;
  private isStale = false;
  private dueAt = 0;

  constructor(
    private readonly client: ApiClient,
    private readonly tell: (news: MapNews) => void,
    private readonly pauseMilliseconds = PAUSE_MILLISECONDS,
  ) {}

  /** From now on, shows this. What is under way for another wish is given up. */
  want(wish: MapWish): void {
    this.wish = wish;
    this.dueAt = 0;
    this.loading?.abort();
    this.refresh();
  }

  /** Loads again, soon after the last time at the earliest. */
  refresh(): void {
    this.isStale = true;
    if (!this.loading) void this.run();
  }

  stop(): void {
    this.wish = undefined;
    this.loading?.abort();
  }

  private async run(): Promise<void> {
    while (this.isStale && this.wish) {
      this.loading = new AbortController();
      const { signal } = this.loading;
      await pause(this.dueAt - Date.now(), signal);
      if (!signal.aborted) await this.load(this.wish, signal);
    }
    this.loading = undefined;
  }

  private async load(wish: MapWish, signal: AbortSignal): Promise<void> {
    this.isStale = false;
    try {
      const slices = await loadSlices(this.client, wish, signal);
      if (!signal.aborted) this.tell({ slices });
    } catch (error) {
      if (!signal.aborted) this.tell({ fault: (error as Error).message });
    }
    if (!signal.aborted) this.dueAt = Date.now() + this.pauseMilliseconds;
  }
}

/** Resolves after the time, or when `signal` aborts. */
function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  if (milliseconds <= 0 || signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

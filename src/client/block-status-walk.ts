import type { BlockStatus } from './status-request.js';

/** The part of an NBD client that reports the status of a disk. */
interface StatusSource {
  /** The longest range of a request, in bytes. */
  readonly maxRangeBytes: number;
  /** The status in these contexts, and perhaps in others. */
  blockStatus(offset: number, length: number, options: { readonly contexts: readonly string[] }): Promise<BlockStatus>;
}

/** A part of a disk whose status is known in every context: each list in `extents` covers exactly `length` bytes. */
export interface StatusWindow {
  readonly offset: number;
  readonly length: number;
  readonly extents: BlockStatus;
}

/** A run of one context: offset and length in bytes. */
export interface Extent {
  readonly offset: number;
  readonly length: number;
  readonly status: number;
}

/**
 * Reads the status of a range of any size, window by window. A server may report less than was asked for, and less for
 * one context than for another. Each window ends where the shortest context ends, so they never drift apart.
 */
export async function* walkBlockStatus(
  client: StatusSource,
  offset: number,
  length: number,
  contexts: readonly string[],
): AsyncGenerator<StatusWindow> {
  const end = offset + length;
  for (let at = offset; at < end; ) {
    const asked = Math.min(end - at, client.maxRangeBytes);
    const extents = await client.blockStatus(at, asked, { contexts });
    const known = Math.min(end - at, ...[...extents.values()].map((list) => list.totalBytes));
    for (const list of extents.values()) list.trimTo(known);
    yield { offset: at, length: known, extents };
    at += known;
  }
}

/** The extents of one context in a window, with their offsets on the disk. */
export function* extentsOf({ offset, extents }: StatusWindow, context: string): Generator<Extent> {
  const list = extents.get(context);
  if (!list) return;
  let at = offset;
  for (const [index, length] of list.lengths.entries()) {
    yield { offset: at, length, status: list.statuses[index]! };
    at += length;
  }
}

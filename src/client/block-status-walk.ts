import type { BlockStatus } from './status-request.js';

const MAX_REQUEST_BYTES = 2 ** 32 - 1;

/** What tells the status of a disk: a client of NBD. */
interface StatusSource {
  readonly blockSizes: { readonly preferred: number };
  blockStatus(offset: number, length: number): Promise<BlockStatus>;
}

/** A part of a disk of which every context has told the status: each list in `extents` covers exactly `length` bytes. */
export interface StatusWindow {
  readonly offset: number;
  readonly length: number;
  readonly extents: BlockStatus;
}

/** An (offset, length, status) run of one context. */
export interface Extent {
  readonly offset: number;
  readonly length: number;
  readonly status: number;
}

/**
 * The status of a range of any size, window by window. A server may tell less than was asked, and of one context less
 * than of another; each step goes as far as all contexts have come, so they never drift apart.
 */
export async function* walkBlockStatus(
  client: StatusSource,
  offset: number,
  length: number,
): AsyncGenerator<StatusWindow> {
  const maxRequestBytes = MAX_REQUEST_BYTES - (MAX_REQUEST_BYTES % client.blockSizes.preferred);
  const end = offset + length;
  for (let at = offset; at < end; ) {
    const asked = Math.min(end - at, maxRequestBytes);
    const extents = await client.blockStatus(at, asked);
    const known = Math.min(end - at, ...[...extents.values()].map((list) => list.totalBytes));
    for (const list of extents.values()) list.trimTo(known);
    yield { offset: at, length: known, extents };
    at += known;
  }
}

/** The extents of one context of a window, where they lie on the disk. */
export function* extentsOf({ offset, extents }: StatusWindow, context: string): Generator<Extent> {
  const list = extents.get(context);
  if (!list) return;
  let at = offset;
  for (const [index, length] of list.lengths.entries()) {
    yield { offset: at, length, status: list.statuses[index]! };
    at += length;
  }
}

import { giveWay } from '../../base/loop-share.js';
import type { Change } from './key-value-store.js';

/** Changes in one commit, as far as a save can be divided. The library queues them in one step of about 3 ms. */
const STORED_TOGETHER = 1024;
/** Pages that are copied in less than a millisecond. */
const COPIED_TOGETHER = 128;

/** What makes the store match memory. */
export interface Saving {
  /** Pages of bits, copied one by one when they are asked for; undefined for an empty page. */
  readonly pages: Iterable<Change | undefined>;
  /** What takes effect together and relies on the pages. */
  readonly rest: readonly Change[];
}

/**
 * Divides a save into commits, which must be made in this order. A large save takes many turns of the event loop and
 * little memory. Only the last commit changes what the store says. A page may be stored before it, because until then
 * its array belongs to no stored bitmap, or its bits lie in regions that are marked in the store.
 */
export async function* partsOf(
  { pages, rest }: Saving,
  together = STORED_TOGETHER,
): AsyncGenerator<readonly Change[], void> {
  let part: Change[] = [];
  let visited = 0;
  for (const page of pages) {
    if (++visited % COPIED_TOGETHER === 0) await giveWay();
    if (page) part.push(page);
    if (part.length < together) continue;
    yield part;
    part = [];
  }
  yield [...part, ...rest];
}

/** Several saves as one, with more changes that take effect together with them. */
export function joined(savings: readonly Saving[], more: readonly Change[]): Saving {
  return { pages: pagesOf(savings), rest: [...savings.flatMap(({ rest }) => rest), ...more] };
}

/** Everything at once. */
export function wholeOf({ pages, rest }: Saving): Change[] {
  return [...[...pages].filter((page) => page !== undefined), ...rest];
}

function* pagesOf(savings: readonly Saving[]): Iterable<Change | undefined> {
  for (const { pages } of savings) yield* pages;
}

import { assert } from '../base/assert.js';
import { type Errno, OK } from '../base/errno.js';
import { ExtentList } from '../base/extents.js';
import { giveWay } from '../base/loop-share.js';
import { SECTOR_BYTES } from '../base/units.js';
import type { MetadataContext } from '../export/metadata-context.js';
import { CommandFlag, REPLY_FLAG_DONE } from '../protocol/constants.js';
import { encodeBlockStatusChunk } from '../protocol/reply-codec.js';
import type { Request } from '../protocol/request.js';
import type { SelectedContext } from './agreement.js';
import type { Content, Replies } from './replies.js';

/**
 * The most extents in one reply, all contexts together: a few milliseconds of work. The client asks again for the rest,
 * as it has to be able to in any case.
 */
const MAX_EXTENTS = 16 * 1024;
/** The most runs to look at for one context of a reply. Many runs can make one extent. */
const MAX_RUNS = MAX_EXTENTS;

/** What a block-status request asks of a disk. */
export interface StatusQuestion {
  readonly contexts: readonly SelectedContext[];
  /** Of the disk. */
  readonly minBlockBytes: number;
}

/**
 * The contexts that the payload of a request names, in the order of their selection; undefined if it names one twice, or
 * one that is not selected.
 */
export function namedContexts(
  selected: readonly SelectedContext[],
  ids: readonly number[],
): readonly SelectedContext[] | undefined {
  const named = selected.filter(({ id }) => ids.includes(id));
  return named.length === ids.length ? named : undefined;
}

/**
 * Finds the answer to a block-status request: one chunk for each of the contexts. All chunks cover the same length, because
 * clients look at one context to find where to continue, and assume that the others reach as far.
 */
export async function blockStatusOf(
  { chunks }: Replies,
  { contexts, minBlockBytes }: StatusQuestion,
  request: Request,
): Promise<Errno | Content> {
  const isOne = (request.flags & CommandFlag.REQ_ONE) !== 0;
  const limit = isOne ? 1 : Math.max(1, Math.floor(MAX_EXTENTS / contexts.length));
  const lists: ExtentList[] = [];
  for (const { context } of contexts) {
    await giveWay();
    const list = await statusOf(context, request, minBlockBytes, limit);
    if (!(list instanceof ExtentList)) return list;
    lists.push(list);
  }
  const commonBytes = Math.min(...lists.map((list) => list.totalBytes));
  for (const list of lists) list.trimTo(commonBytes);
  assert(chunks !== undefined, 'contexts are only selected when replies have chunks');
  return contexts.map(({ id }, index) => {
    const chunkFlags = index === contexts.length - 1 ? REPLY_FLAG_DONE : 0;
    return encodeBlockStatusChunk(chunks, chunkFlags, id, lists[index]!, request);
  });
}

/** When the smallest block is larger than a sector, extents are whole blocks. */
async function statusOf(
  context: MetadataContext,
  { offset, length }: Request,
  minBlockBytes: number,
  limit: number,
): Promise<ExtentList | Errno> {
  if (minBlockBytes <= SECTOR_BYTES) {
    const list = new ExtentList(limit, MAX_RUNS);
    const errno = await context.status(offset, length, list);
    return errno === OK ? list : errno;
  }
  // An extent can be as short as a sector, so a block can hold this many times more extents.
  const sectorsInBlock = minBlockBytes / SECTOR_BYTES;
  const list = new ExtentList(limit * sectorsInBlock + 1, MAX_RUNS);
  const errno = await context.status(offset, length, list);
  if (errno !== OK) return errno;
  return list.inBlocks({ offset, end: offset + length, blockBytes: minBlockBytes, limit, combine: context.combine });
}

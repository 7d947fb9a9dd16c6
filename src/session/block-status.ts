import { type Errno, OK } from '../base/errno.js';
import { ExtentList } from '../base/extents.js';
import { SECTOR_BYTES } from '../base/units.js';
import { CommandFlag, REPLY_FLAG_DONE } from '../protocol/constants.js';
import { extentLayout } from '../protocol/layouts.js';
import { type Cookie, encodeBlockStatusChunk } from '../protocol/reply-codec.js';
import type { SelectedContext } from './agreement.js';
import type { ReplyWriter } from './reply-writer.js';

/** 1 MiB of descriptors in a chunk, as QEMU caps it; the client asks again for the rest. */
const MAX_EXTENTS = 128 * 1024;
const EXTENT_BYTES = extentLayout.span;

/** Bytes of extents that the answer to a block-status request may have. */
export function longestStatusBytes(contextCount: number, flags: number, length: number): number {
  const isOne = (flags & CommandFlag.REQ_ONE) !== 0;
  return contextCount * EXTENT_BYTES * (isOne ? 1 : Math.min(Math.ceil(length / SECTOR_BYTES), MAX_EXTENTS));
}

/**
 * Answers a block-status request: one chunk a selected context, all trimmed to one common length, because clients
 * advance by one context and take the others to have come as far.
 */
export async function replyBlockStatus(
  writer: ReplyWriter,
  contexts: readonly SelectedContext[],
  cookie: Cookie,
  flags: number,
  offset: number,
  length: number,
): Promise<Errno> {
  const limit = (flags & CommandFlag.REQ_ONE) !== 0 ? 1 : MAX_EXTENTS;
  const lists: ExtentList[] = [];
  for (const { context } of contexts) {
    const list = new ExtentList(limit);
    const errno = await context.status(offset, length, list);
    if (errno !== OK) return errno;
    lists.push(list);
  }
  const commonBytes = Math.min(...lists.map((list) => list.totalBytes));
  for (const list of lists) list.trimTo(commonBytes);
  contexts.forEach(({ id }, index) => {
    const chunkFlags = index === contexts.length - 1 ? REPLY_FLAG_DONE : 0;
    writer.send(encodeBlockStatusChunk(chunkFlags, id, lists[index]!, cookie));
  });
  return OK;
}

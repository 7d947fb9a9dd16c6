import { ExtentList } from '../base/extents.js';
import { formatCount } from '../base/units.js';
import { PendingRequest } from './pending-request.js';

/** The most descriptors that the document allows in a chunk. */
export const MAX_DESCRIPTORS = 2 ** 20;

/** The extents of each selected context from the requested offset on, by the name of the context. */
export type BlockStatus = ReadonlyMap<string, ExtentList>;

export interface StatusRange {
  readonly offset: number;
  readonly length: number;
  /** Only one extent was asked for in each context. */
  readonly requestOne: boolean;
  /** The size of the export. */
  readonly sizeBytes: number;
}

export class StatusRequest extends PendingRequest<BlockStatus> {
  private readonly extents = new Map<string, ExtentList>();

  constructor(
    private readonly range: StatusRange,
    /** Selected contexts: id to name. */
    private readonly contexts: ReadonlyMap<number, string>,
  ) {
    super(`for the block status of ${formatCount(range.length, 'byte')} at ${range.offset}`);
  }

  /** Starts the list of one context, at the beginning of its chunk. */
  begin(contextId: number, descriptorCount: number): ExtentList {
    const name = this.contexts.get(contextId);
    if (name === undefined) throw this.violation(`reported on the unknown context ${contextId}`);
    if (this.extents.has(name)) throw this.violation(`reported twice on "${name}"`);
    if (this.range.requestOne && descriptorCount !== 1) throw this.violation('sent more than the one extent');
    const list = new ExtentList(MAX_DESCRIPTORS);
    this.extents.set(name, list);
    return list;
  }

  /** Adds the next extent of a chunk. Only the last one may extend beyond the requested range; it ends with the export. */
  add(list: ExtentList, lengthBytes: number, status: number): void {
    if (lengthBytes === 0) throw this.violation('sent an extent of length 0');
    if (list.totalBytes >= this.range.length) throw this.violation('sent extents beyond the range');
    if (this.range.requestOne && lengthBytes > this.range.length)
      throw this.violation('sent an extent beyond the range');
    // Capped before it is added, because a sum above 2^53 would not be exact.
    const untilEnd = this.range.sizeBytes - this.range.offset - list.totalBytes;
    list.add(Math.min(lengthBytes, untilEnd), status);
  }

  protected result(): BlockStatus {
    if (this.extents.size !== this.contexts.size) throw this.violation('did not report on every context');
    return this.extents;
  }
}

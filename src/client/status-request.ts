import { ExtentList } from '../base/extents.js';
import { formatCount } from '../base/units.js';
import { PendingRequest } from './pending-request.js';

/** Most descriptors that the document allows in a chunk. */
export const MAX_DESCRIPTORS = 2 ** 20;

/** The extents of each selected context from the requested offset on, by the context's name. */
export type BlockStatus = ReadonlyMap<string, ExtentList>;

export interface StatusRange {
  readonly offset: number;
  readonly length: number;
  /** Only one extent a context was asked for. */
  readonly requestOne: boolean;
  /** Where the export ends. */
  readonly sizeBytes: number;
}

export class StatusRequest extends PendingRequest<BlockStatus> {
  private readonly extents = new Map<string, ExtentList>();

  constructor(
    private readonly range: StatusRange,
    /** Selected contexts: name by id. */
    private readonly contexts: ReadonlyMap<number, string>,
  ) {
    super(`for the block status of ${formatCount(range.length, 'byte')} at ${range.offset}`);
  }

  /** Begins the chunk of one context. */
  begin(contextId: number, descriptorCount: number): ExtentList {
    const name = this.contexts.get(contextId);
    if (name === undefined) throw this.violation(`reported on the unknown context ${contextId}`);
    if (this.extents.has(name)) throw this.violation(`reported twice on "${name}"`);
    if (this.range.requestOne && descriptorCount !== 1) throw this.violation('sent more than the one extent');
    const list = new ExtentList(MAX_DESCRIPTORS);
    this.extents.set(name, list);
    return list;
  }

  /** Takes the next extent of the chunk begun. Only the last may reach beyond what was asked for. */
  add(list: ExtentList, lengthBytes: number, status: number): void {
    if (lengthBytes === 0) throw this.violation('sent an extent without length');
    if (list.totalBytes >= this.range.length) throw this.violation('sent extents beyond the range');
    if (this.range.requestOne && lengthBytes > this.range.length)
      throw this.violation('sent an extent beyond the range');
    list.add(lengthBytes, status);
  }

  protected result(): BlockStatus {
    if (this.extents.size !== this.contexts.size) throw this.violation('did not report on every context');
    for (const list of this.extents.values()) list.trimTo(this.range.sizeBytes - this.range.offset);
    return this.extents;
  }
}

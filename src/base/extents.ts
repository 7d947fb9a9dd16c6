import { assert } from './assert.js';

/**
 * Consecutive extents from one starting offset, as block status reports them: lengths in bytes, each with a status.
 * The list itself keeps the protocol's rules, so no producer can break them: lengths are positive, equal neighbours
 * are merged, and at most `limit` extents are held.
 */
export class ExtentList {
  readonly lengths: number[] = [];
  readonly statuses: number[] = [];
  /** Sum of all lengths. */
  totalBytes = 0;

  constructor(readonly limit: number) {
    assert(limit >= 1, 'an extent list holds at least one extent');
  }

  get count(): number {
    return this.lengths.length;
  }

  /** Appends a run. False, and nothing appended, when it would need an extent more than `limit`: stop producing. */
  add(lengthBytes: number, status: number): boolean {
    assert(lengthBytes > 0, 'an extent has a length');
    const last = this.lengths.length - 1;
    if (last >= 0 && this.statuses[last] === status) {
      this.lengths[last]! += lengthBytes;
    } else {
      if (this.lengths.length === this.limit) return false;
      this.lengths.push(lengthBytes);
      this.statuses.push(status);
    }
    this.totalBytes += lengthBytes;
    return true;
  }

  /** Cuts the end off so that the extents cover at most `bytes`. */
  trimTo(bytes: number): void {
    assert(bytes > 0, 'an extent list is not trimmed to nothing');
    while (this.totalBytes > bytes) {
      const last = this.lengths.length - 1;
      const excess = this.totalBytes - bytes;
      const length = this.lengths[last]!;
      if (length > excess) {
        this.lengths[last] = length - excess;
        this.totalBytes = bytes;
      } else {
        this.lengths.pop();
        this.statuses.pop();
        this.totalBytes -= length;
      }
    }
  }
}

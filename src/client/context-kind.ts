import {
  ALLOCATION_DEPTH,
  BASE_ALLOCATION,
  DIRTY_BITMAP_PREFIX,
  OVERWRITTEN_CONTEXT,
} from '../base/metadata-contexts.js';
import { AllocationStatus, DIRTY_BITMAP_DIRTY } from '../protocol/constants.js';

/** What the statuses of a metadata context mean. */
export interface ContextKind {
  /** The word for marked bytes, such as `dirty`. */
  readonly mark: string;
  isMarked(status: number): boolean;
  /** The status in the words of nbdinfo, such as `hole,zero` or `dirty`. */
  describe(status: number): string;
}

const allocation: ContextKind = {
  mark: 'allocated',
  isMarked: (status) => (status & AllocationStatus.HOLE) === 0,
  describe: (status) => ['data', 'hole', 'zero', 'hole,zero'][status] ?? String(status),
};

const allocationDepth: ContextKind = {
  mark: 'allocated',
  isMarked: (status) => status !== 0,
  describe: (status) => ['unallocated', 'local'][status] ?? `backing depth ${status}`,
};

const dirtyBitmap: ContextKind = {
  mark: 'dirty',
  isMarked: (status) => (status & DIRTY_BITMAP_DIRTY) !== 0,
  describe: (status) => ['clean', 'dirty'][status] ?? String(status),
};

const overwritten: ContextKind = {
  mark: 'overwritten',
  isMarked: (status) => status !== 0,
  describe: (status) => ['unchanged', 'overwritten'][status] ?? String(status),
};

/** An unknown context: bytes with any status bit count as set. */
const unknown: ContextKind = {
  mark: 'set',
  isMarked: (status) => status !== 0,
  describe: String,
};

export function contextKind(contextName: string): ContextKind {
  if (contextName === BASE_ALLOCATION) return allocation;
  if (contextName === ALLOCATION_DEPTH) return allocationDepth;
  if (contextName === OVERWRITTEN_CONTEXT) return overwritten;
  return contextName.startsWith(DIRTY_BITMAP_PREFIX) ? dirtyBitmap : unknown;
}

import { BASE_ALLOCATION, DIRTY_BITMAP_PREFIX, OVERWRITTEN_CONTEXT } from '../base/metadata-contexts.js';
import { AllocationStatus, DIRTY_BITMAP_DIRTY } from '../protocol/constants.js';

/** What the statuses of a metadata context mean. */
export interface ContextKind {
  /** What is said of the bytes that the context is about: `dirty`. */
  readonly mark: string;
  isMarked(status: number): boolean;
  /** In the words of nbdinfo: `hole,zero`, `dirty`. */
  describe(status: number): string;
}

const allocation: ContextKind = {
  mark: 'allocated',
  isMarked: (status) => (status & AllocationStatus.HOLE) === 0,
  describe: (status) => ['data', 'hole', 'zero', 'hole,zero'][status] ?? String(status),
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

/** A context that nothing is known of: bytes with any status bit are set. */
const unknown: ContextKind = {
  mark: 'set',
  isMarked: (status) => status !== 0,
  describe: String,
};

export function contextKind(contextName: string): ContextKind {
  if (contextName === BASE_ALLOCATION) return allocation;
  if (contextName === OVERWRITTEN_CONTEXT) return overwritten;
  return contextName.startsWith(DIRTY_BITMAP_PREFIX) ? dirtyBitmap : unknown;
}

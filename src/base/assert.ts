/** A bug in this program, never the fault of a client, an operator or a disk. */
export class BugError extends Error {
  override readonly name = 'BugError';
}

/** Throws BugError unless `condition` holds. Not for data that a peer or an operator chose. */
export function assert(condition: boolean, what: string): asserts condition {
  if (!condition) throw new BugError(what);
}

/** A bug in this program. Clients, operators and disks never cause one. */
export class BugError extends Error {
  override readonly name = 'BugError';
}

/** Throws BugError unless `condition` holds. Never use it to check data from a peer or an operator. */
export function assert(condition: boolean, what: string): asserts condition {
  if (!condition) throw new BugError(what);
}

/** Ends a `switch` that lists every case: a case that was forgotten does not compile. */
export function unreachable(value: never): never {
  throw new BugError(`${String(value)} is one of the listed cases`);
}

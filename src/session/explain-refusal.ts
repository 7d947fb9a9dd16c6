import { isProven } from '../access/identity.js';
import type { Attempt } from '../access/refusals.js';
import type { SeenExports } from '../export/seen-exports.js';

/**
 * Why a client could not use an export: it does not see it, whether there is one or not; it may not read it; it does not
 * see or may not read it before TLS; it can use none before TLS.
 */
export type MissedExport = 'unseen' | 'unreadable' | 'in the clear' | 'TLS is required';

interface Explanation {
  readonly attempt: Attempt;
  readonly reason: string;
  readonly sentence: string;
}

/** For the log. Undefined for a client who may see all there is, and only got a name wrong. */
export function explainRefusal(seen: SeenExports, exportName: string, missed: MissedExport): Explanation | undefined {
  if ((missed === 'unseen' || missed === 'in the clear') && seen.seesAll) return undefined;
  if (missed === 'in the clear' || missed === 'TLS is required') {
    const reason = 'it did not use TLS';
    return { attempt: 'tls', reason, sentence: `refused a client: ${reason}` };
  }
  const reason = missed === 'unreadable' ? `${seen.who} has list, but not read` : whyUnseen(seen);
  return { attempt: 'rights', reason, sentence: `refused export "${exportName}": ${reason}` };
}

function whyUnseen({ access: { identity }, who }: SeenExports): string {
  const isStranger = identity.from.kind === 'tcp' && !isProven(identity);
  return isStranger ? 'the client proved no identity' : `no rule lets ${who} see it`;
}

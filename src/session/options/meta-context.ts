import { BASE_ALLOCATION, DIRTY_BITMAP_PREFIX, OVERWRITTEN_CONTEXT } from '../../base/metadata-contexts.js';
import type { MetadataContext } from '../../export/metadata-context.js';
import type { ServedDisk } from '../../export/served-disk.js';
import { OptionError, OptionReply } from '../../protocol/constants.js';
import {
  decodeMetaContextRequest,
  encodeMetaContext,
  InvalidOption,
  type MetaContextRequest,
} from '../../protocol/option-codec.js';
import type { SelectedContext } from '../agreement.js';
import type { OptionOutcome, OptionRequest } from './option-handler.js';

/** In LIST, a query that equals one of these matches every context that begins with it. */
const wildcards = [
  ...[BASE_ALLOCATION, DIRTY_BITMAP_PREFIX, OVERWRITTEN_CONTEXT].map(namespaceOf),
  DIRTY_BITMAP_PREFIX,
];

function namespaceOf(name: string): string {
  return name.slice(0, name.indexOf(':') + 1);
}

/** NBD_OPT_LIST_META_CONTEXT: lists the matching contexts. Nothing is selected, so every id is 0. */
export function answerListMetaContext(request: OptionRequest): OptionOutcome {
  const wanted = decode(request);
  if (!wanted) return undefined;
  const queries = new Set(wanted.queries);
  const matching = wanted.served
    .contexts()
    .filter(({ name }) => wanted.queryCount === 0 || queries.has(name) || prefixesOf(name).some((p) => queries.has(p)));
  replyContexts(
    request,
    matching.map((context) => ({ id: 0, context })),
  );
  return undefined;
}

/** The wildcards that match a name. */
function prefixesOf(name: string): string[] {
  return wildcards.filter((wildcard) => name.startsWith(wildcard));
}

/** NBD_OPT_SET_META_CONTEXT: selects contexts by exact name. The new selection replaces the earlier one. */
export function answerSetMetaContext(request: OptionRequest): OptionOutcome {
  const { negotiation } = request;
  if (negotiation.replies === 'simple') {
    const message = 'metadata contexts need structured replies (negotiate them first)';
    return request.refuse({ error: OptionError.INVALID, message });
  }
  const wanted = decode(request);
  if (!wanted) return undefined;
  const found = new Map<string, MetadataContext>();
  for (const query of wanted.queries) {
    const context = wanted.served.context(query);
    if (context) found.set(query, context);
  }
  const contexts = [...found.values()].map((context, index) => ({ id: index + 1, context }));
  negotiation.selection = { exportName: wanted.exportName, served: wanted.served, contexts };
  replyContexts(request, contexts);
  return undefined;
}

function replyContexts(request: OptionRequest, contexts: readonly SelectedContext[]): void {
  const data = contexts.map(({ id, context }) => encodeMetaContext(id, context.name));
  request.replyEach(OptionReply.META_CONTEXT, data);
}

/** The request and the export it names; undefined when it was refused. */
function decode(request: OptionRequest): (MetaContextRequest & { served: ServedDisk }) | undefined {
  const wanted = decodeMetaContextRequest(request.data);
  if (wanted instanceof InvalidOption) {
    request.refuse(wanted);
    return undefined;
  }
  const served = request.exports.find(wanted.exportName);
  if (!served) {
    request.refuseUnknownExport(wanted.exportName);
    return undefined;
  }
  if (!request.exports.mayRead(served)) {
    request.refuseUnreadable(wanted.exportName);
    return undefined;
  }
  return { ...wanted, served };
}

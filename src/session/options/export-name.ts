import { decodeString, encodeExportNameReply } from '../../protocol/option-codec.js';
import type { OptionOutcome, OptionRequest } from './option-handler.js';

/** NBD_OPT_EXPORT_NAME: starts transmission. It has no error reply, so a bad name ends the connection. */
export function handleExportName(request: OptionRequest): OptionOutcome {
  const { negotiation } = request;
  const exportName = decodeString(request.data);
  const served = exportName === undefined ? undefined : request.exports.find(exportName);
  if (exportName === undefined || !served) return { closeReason: 'asked for an unknown export by EXPORT_NAME' };
  request.send(encodeExportNameReply(served.sizeBytes, negotiation.flagsOf(served), !negotiation.noZeroes));
  return {
    agreement: {
      export: served,
      structuredReplies: negotiation.structuredReplies,
      enforceBlockSize: false,
      contexts: negotiation.contextsFor(exportName, served),
    },
  };
}

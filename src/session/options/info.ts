import type { ServedDisk } from '../../export/served-disk.js';
import { InfoType, OptionReply } from '../../protocol/constants.js';
import {
  decodeInfoRequest,
  encodeInfoBlockSize,
  encodeInfoExport,
  encodeInfoText,
  type InfoRequest,
  InvalidOption,
} from '../../protocol/option-codec.js';
import { type Agreement, BLOCK_SIZES } from '../agreement.js';
import type { OptionOutcome, OptionRequest } from './option-handler.js';

/** NBD_OPT_INFO: describes the export and stays in the handshake. */
export function handleInfo(request: OptionRequest): OptionOutcome {
  describe(request);
  return undefined;
}

/** NBD_OPT_GO: describes the export as INFO does, and starts transmission. */
export function handleGo(request: OptionRequest): OptionOutcome {
  const agreement = describe(request);
  return agreement && { agreement };
}

/** Answers INFO or GO. Returns the agreement for GO, or undefined when the option was refused. */
function describe(request: OptionRequest): Agreement | undefined {
  const wanted = decodeInfoRequest(request.data);
  if (wanted instanceof InvalidOption) {
    request.refuse(wanted.error, wanted.message);
    return undefined;
  }
  const served = request.exports.find(wanted.exportName);
  if (!served) {
    request.refuseUnknownExport(wanted.exportName);
    return undefined;
  }
  const { negotiation } = request;
  sendInformation(request, wanted, served);
  request.ack();
  return {
    export: served,
    structuredReplies: negotiation.structuredReplies,
    enforceBlockSize: wanted.infoTypes.includes(InfoType.BLOCK_SIZE),
    contexts: negotiation.contextsFor(wanted.exportName, served),
  };
}

/** Sends EXPORT always, and the other types when they were asked for. Unknown types are ignored. */
function sendInformation(request: OptionRequest, wanted: InfoRequest, served: ServedDisk): void {
  const asked = new Set(wanted.infoTypes);
  const info = (data: Buffer) => request.reply(OptionReply.INFO, data);
  if (asked.has(InfoType.NAME)) info(encodeInfoText(InfoType.NAME, served.name));
  if (asked.has(InfoType.DESCRIPTION) && served.description !== '') {
    info(encodeInfoText(InfoType.DESCRIPTION, served.description));
  }
  if (asked.has(InfoType.BLOCK_SIZE)) {
    info(encodeInfoBlockSize(served.minBlockBytes, BLOCK_SIZES.preferred, BLOCK_SIZES.maximum));
  }
  info(encodeInfoExport(served.sizeBytes, request.negotiation.flagsOf(served)));
}

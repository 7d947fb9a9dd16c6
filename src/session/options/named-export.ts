import type { ServedDisk } from '../../export/served-disk.js';
import { InfoType, OptionError, OptionReply } from '../../protocol/constants.js';
import {
  decodeInfoRequest,
  decodeString,
  encodeExportNameReply,
  encodeInfoBlockSize,
  encodeInfoExport,
  encodeInfoText,
  type InfoRequest,
  InvalidOption,
} from '../../protocol/option-codec.js';
import { type Agreement, BLOCK_SIZES } from '../agreement.js';
import type { OptionOutcome, OptionRequest } from './option-handler.js';

/** NBD_OPT_INFO: describes the export and stays in the handshake. */
export function answerInfo(request: OptionRequest): OptionOutcome {
  const wanted = decodeWanted(request);
  if (wanted) sendInformation(request, wanted);
  return undefined;
}

/** NBD_OPT_GO: describes the export as INFO does, and starts transmission. */
export function answerGo(request: OptionRequest): OptionOutcome {
  const wanted = decodeWanted(request);
  if (!wanted) return undefined;
  const { exportName, served, infoTypes } = wanted;
  if (!request.exports.mayRead(served)) return request.refuseUnreadable(exportName);
  sendInformation(request, wanted);
  return agreeOn(request, exportName, served, infoTypes.includes(InfoType.BLOCK_SIZE));
}

type Wanted = InfoRequest & { readonly served: ServedDisk };

/** Undefined if it was refused. */
function decodeWanted(request: OptionRequest): Wanted | undefined {
  const wanted = decodeInfoRequest(request.data);
  if (wanted instanceof InvalidOption) {
    request.refuse(wanted);
    return undefined;
  }
  const served = request.exports.find(wanted.exportName);
  if (served) return { ...wanted, served };
  request.refuseUnknownExport(wanted.exportName);
  return undefined;
}

/** NBD_OPT_EXPORT_NAME: starts transmission, from before there was GO. */
export function answerExportName(request: OptionRequest): OptionOutcome {
  const { negotiation } = request;
  if (negotiation.replies === 'extended') {
    return request.refuse({ error: OptionError.INVALID, message: 'extended headers need GO' });
  }
  const exportName = decodeString(request.data);
  if (exportName === undefined) return request.refuse({ error: OptionError.INVALID, message: 'the name is not valid' });
  const served = request.exports.find(exportName);
  if (!served) return request.refuseUnknownExport(exportName);
  if (!request.exports.mayRead(served)) return request.refuseUnreadable(exportName);
  request.send(encodeExportNameReply(served.sizeBytes, negotiation.flagsOf(exportName, served), !negotiation.noZeroes));
  return agreeOn(request, exportName, served, false);
}

function agreeOn(
  { negotiation }: OptionRequest,
  exportName: string,
  served: ServedDisk,
  enforceBlockSize: boolean,
): { agreement: Agreement<ServedDisk> } {
  const { replies } = negotiation;
  const readOnly = negotiation.readOnly(served);
  const contexts = negotiation.contextsFor(exportName, served);
  return { agreement: { export: served, readOnly, replies, enforceBlockSize, contexts } };
}

/** Sends EXPORT always, and the other types when they were asked for, then the ACK. Unknown types are ignored. */
function sendInformation(request: OptionRequest, { exportName, served, infoTypes }: Wanted): void {
  const asked = new Set(infoTypes);
  const info = (data: Buffer) => request.reply(OptionReply.INFO, data);
  if (asked.has(InfoType.NAME)) info(encodeInfoText(InfoType.NAME, served.name));
  if (asked.has(InfoType.DESCRIPTION) && served.description !== '') {
    info(encodeInfoText(InfoType.DESCRIPTION, served.description));
  }
  if (asked.has(InfoType.BLOCK_SIZE)) {
    info(encodeInfoBlockSize(served.minBlockBytes, BLOCK_SIZES.preferred, BLOCK_SIZES.maximum));
  }
  info(encodeInfoExport(served.sizeBytes, request.negotiation.flagsOf(exportName, served)));
  request.ack();
}

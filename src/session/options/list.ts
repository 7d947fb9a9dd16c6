import type { ServedDisk } from '../../export/served-disk.js';
import { OptionError, OptionReply } from '../../protocol/constants.js';
import { encodeServerEntry } from '../../protocol/option-codec.js';
import type { OptionOutcome, OptionRequest } from './option-handler.js';

/**
 * NBD_OPT_LIST: one SERVER reply for each export, then the ACK. Views are not listed: a client that reads
 * everything in the list would keep their backups alive.
 */
export function answerList(request: OptionRequest): OptionOutcome {
  if (request.data.length > 0) {
    return request.refuse({ error: OptionError.INVALID, message: 'LIST carries no data' });
  }
  request.replyEach(OptionReply.SERVER, entriesOf(request.exports.list()));
  return undefined;
}

function* entriesOf(exports: readonly ServedDisk[]): Generator<Buffer> {
  for (const { name, description } of exports) yield encodeServerEntry(name, description);
}

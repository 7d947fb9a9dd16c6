import { OptionError } from '../../protocol/constants.js';
import type { OptionOutcome, OptionRequest } from './option-handler.js';

/** NBD_OPT_STRUCTURED_REPLY: may be sent once, without data. */
export function handleStructuredReply(request: OptionRequest): OptionOutcome {
  if (request.data.length > 0) {
    request.refuse(OptionError.INVALID, 'STRUCTURED_REPLY carries no data');
  } else if (request.negotiation.structuredReplies) {
    request.refuse(OptionError.INVALID, 'structured replies have already been agreed');
  } else {
    request.negotiation.structuredReplies = true;
    request.ack();
  }
  return undefined;
}

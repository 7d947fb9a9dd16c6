import { OptionError } from '../../protocol/constants.js';
import type { OptionOutcome, OptionRequest } from './option-handler.js';

/** NBD_OPT_STRUCTURED_REPLY: agreed once, without data. */
export function handleStructuredReply(request: OptionRequest): OptionOutcome {
  if (request.data.length > 0) {
    request.refuse(OptionError.INVALID, 'STRUCTURED_REPLY carries no data');
  } else if (request.negotiation.structuredReplies) {
    request.refuse(OptionError.INVALID, 'structured replies are agreed already');
  } else {
    request.negotiation.structuredReplies = true;
    request.ack();
  }
  return undefined;
}

import type { OptionOutcome, OptionRequest } from './option-handler.js';

/** NBD_OPT_ABORT: the client ends the handshake. Any data is ignored. */
export function handleAbort(request: OptionRequest): OptionOutcome {
  request.ack();
  return { closeReason: 'the client ended the handshake' };
}

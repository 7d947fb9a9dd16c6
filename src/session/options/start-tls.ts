import { OptionError } from '../../protocol/constants.js';
import type { Negotiation, OptionOutcome, OptionRefusal } from './option-handler.js';

/** Why NBD_OPT_STARTTLS is refused. The client may go on after each of these. */
export function startTlsRefusal({ terms, secured }: Negotiation, length: number): OptionRefusal | undefined {
  if (terms.tls === 'none') return { error: OptionError.UNSUP, message: 'TLS is not configured' };
  if (secured) return { error: OptionError.INVALID, message: 'TLS has already begun' };
  if (length > 0) return { error: OptionError.INVALID, message: 'STARTTLS carries no data' };
  return undefined;
}

/** NBD_OPT_STARTTLS: the handshake sends the ACK, because that depends on what is behind the option. */
export function answerStartTls(): OptionOutcome {
  return { startTls: true };
}

import { Option, OptionError } from '../../protocol/constants.js';
import { CLIENT_ENDED_HANDSHAKE } from '../close-reason.js';
import { answerList } from './list.js';
import { answerListMetaContext, answerSetMetaContext } from './meta-context.js';
import { answerExportName, answerGo, answerInfo } from './named-export.js';
import type { OptionKind, OptionOutcome, OptionRequest } from './option-handler.js';
import { answerStartTls, startTlsRefusal } from './start-tls.js';

/** NBD_OPT_ABORT: the client ends the handshake. */
function answerAbort(request: OptionRequest): OptionOutcome {
  request.ack();
  return { closeReason: CLIENT_ENDED_HANDSHAKE };
}

/** NBD_OPT_STRUCTURED_REPLY: may be sent once, without data. */
function answerStructuredReply(request: OptionRequest): OptionOutcome {
  const refuse = (message: string) => request.refuse({ error: OptionError.INVALID, message });
  if (request.data.length > 0) return refuse('STRUCTURED_REPLY carries no data');
  if (request.negotiation.replies === 'extended') {
    const message = 'extended headers have already been agreed';
    return request.refuse({ error: OptionError.EXT_HEADER_REQD, message });
  }
  if (request.negotiation.replies !== 'simple') return refuse('structured replies have already been agreed');
  request.negotiation.replies = 'structured';
  return request.ack();
}

/** NBD_OPT_EXTENDED_HEADERS: may be sent once, without data. Takes the place of structured replies. */
function answerExtendedHeaders(request: OptionRequest): OptionOutcome {
  const refuse = (message: string) => request.refuse({ error: OptionError.INVALID, message });
  if (request.data.length > 0) return refuse('EXTENDED_HEADERS carries no data');
  if (request.negotiation.replies === 'extended') return refuse('extended headers have already been agreed');
  request.negotiation.replies = 'extended';
  return request.ack();
}

function answerUnknown(request: OptionRequest): OptionOutcome {
  return request.refuse({ error: OptionError.UNSUP, message: `option ${request.option} is not known` });
}

const kinds = new Map<number, OptionKind>([
  [Option.EXPORT_NAME, { answer: answerExportName, withoutFixedNewstyle: true }],
  [Option.ABORT, { answer: answerAbort, alwaysAnswered: true, withoutTls: true, skipsData: true }],
  [Option.LIST, { answer: answerList }],
  [Option.STARTTLS, { answer: answerStartTls, refusal: startTlsRefusal, withoutTls: true, skipsData: true }],
  [Option.INFO, { answer: answerInfo }],
  [Option.GO, { answer: answerGo }],
  [Option.STRUCTURED_REPLY, { answer: answerStructuredReply }],
  [Option.EXTENDED_HEADERS, { answer: answerExtendedHeaders }],
  [Option.LIST_META_CONTEXT, { answer: answerListMetaContext }],
  [
    Option.SET_META_CONTEXT,
    {
      answer: answerSetMetaContext,
      // The earlier selection is gone even if this option fails ("NBD_OPT_SET_META_CONTEXT").
      begin: (negotiation) => {
        negotiation.selection = undefined;
      },
    },
  ],
]);

const unknown: OptionKind = { answer: answerUnknown, skipsData: true };

/** How an option is answered, whatever its number. */
export function optionKind(option: number): OptionKind {
  return kinds.get(option) ?? unknown;
}

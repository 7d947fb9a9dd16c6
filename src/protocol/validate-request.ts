import { Command, CommandFlag, NbdError } from './constants.js';
import type { ReplyForm } from './reply-form.js';
import type { Request } from './request.js';
import { commandName } from './request-names.js';
import { isStatusPayloadBytes } from './status-payload.js';

/** The part of what was agreed for a connection that decides which requests are valid. */
export interface RequestTerms {
  readonly readOnly: boolean;
  readonly replies: ReplyForm;
  /** Offsets and lengths must be multiples of this power of two: 1 for a client that did not ask for block sizes. */
  readonly blockBytes: number;
  /** How many contexts the client has selected. */
  readonly contextCount: number;
  readonly maxPayloadBytes: number;
}

/** The rule that a request breaks. */
export interface BrokenRule {
  /** The error that the client gets. */
  readonly error: NbdError;
  /** The rule in words, for people. */
  readonly sentence: string;
}

const { EPERM, EINVAL, ENOSPC, EOVERFLOW } = NbdError;

const allowedFlags: Record<number, number> = {
  [Command.READ]: CommandFlag.FUA | CommandFlag.DF,
  [Command.WRITE]: CommandFlag.FUA,
  [Command.FLUSH]: CommandFlag.FUA,
  [Command.TRIM]: CommandFlag.FUA,
  [Command.CACHE]: CommandFlag.FUA,
  [Command.WRITE_ZEROES]: CommandFlag.FUA | CommandFlag.NO_HOLE | CommandFlag.FAST_ZERO,
  [Command.BLOCK_STATUS]: CommandFlag.FUA | CommandFlag.REQ_ONE,
};

/** With extended headers, a flag says that a request has a payload. */
const allowedExtendedFlags: Record<number, number> = {
  ...allowedFlags,
  [Command.WRITE]: CommandFlag.FUA | CommandFlag.PAYLOAD_LEN,
  [Command.BLOCK_STATUS]: CommandFlag.FUA | CommandFlag.REQ_ONE | CommandFlag.PAYLOAD_LEN,
};

const NO_CONTEXT = 'NBD_CMD_BLOCK_STATUS needs a metadata context, and none is selected';

/**
 * All rules for requests to an export of `sizeBytes` bytes. Returns the first rule that the request breaks, or undefined
 * for a valid request, which costs no allocation. The code that serves the request relies on this and does not check
 * again. The payload of a BLOCK_STATUS request says which range it is about, so the range is not checked before the
 * record has its length from there, and no payload any more.
 */
export function validateRequest(request: Request, sizeBytes: number, terms: RequestTerms): BrokenRule | undefined {
  const { command, flags, offset, length, payloadBytes } = request;
  // DISC has no reply, so there is no way to refuse it.
  if (command === Command.DISC) return undefined;
  const allowed = (terms.replies === 'extended' ? allowedExtendedFlags : allowedFlags)[command];
  if (allowed === undefined) return broken(EINVAL, `the server does not know command ${command}`);
  if ((flags & ~allowed) !== 0) {
    return broken(EINVAL, `${commandName(command)} does not accept the flags 0x${(flags & ~allowed).toString(16)}`);
  }
  if (command === Command.FLUSH) return undefined;

  if (command === Command.BLOCK_STATUS && payloadBytes > 0) return checkStatusPayload(request, terms);
  const changes = command === Command.WRITE || command === Command.WRITE_ZEROES;
  if (terms.readOnly && (changes || command === Command.TRIM)) return broken(EPERM, 'the export is read-only');
  if (offset > sizeBytes || length > sizeBytes - offset) {
    const error = changes ? ENOSPC : EINVAL;
    return broken(error, `the range is not inside the export, which is ${sizeBytes} bytes long`);
  }
  // `|` keeps only the low 32 bits of both numbers, which is enough to check alignment.
  if (((offset | length) & (terms.blockBytes - 1)) !== 0) {
    const sentence = `offset and length must be multiples of ${terms.blockBytes}, the minimum block size of the export`;
    return broken(EINVAL, sentence);
  }
  if (command === Command.READ) {
    if (length > terms.maxPayloadBytes) return broken(EOVERFLOW, tooLong(request, terms));
    if ((flags & CommandFlag.DF) !== 0 && terms.replies === 'simple') {
      return broken(EINVAL, 'the flag DF needs structured replies, which were not negotiated');
    }
  } else if (command === Command.WRITE) {
    if (length > terms.maxPayloadBytes) return broken(EINVAL, tooLong(request, terms));
  } else if (command === Command.BLOCK_STATUS) {
    if (terms.contextCount === 0) return broken(EINVAL, NO_CONTEXT);
    if (length === 0) return broken(EINVAL, 'NBD_CMD_BLOCK_STATUS needs a length above 0');
  }
  return undefined;
}

function checkStatusPayload({ payloadBytes }: Request, { contextCount }: RequestTerms): BrokenRule | undefined {
  if (contextCount === 0) return broken(EINVAL, NO_CONTEXT);
  if (isStatusPayloadBytes(payloadBytes, contextCount)) return undefined;
  const sentence = `the payload of NBD_CMD_BLOCK_STATUS is a length and the ids of 1 to ${contextCount} contexts, not ${payloadBytes} bytes`;
  return broken(EINVAL, sentence);
}

function tooLong({ command, length }: Request, { maxPayloadBytes }: RequestTerms): string {
  return `${commandName(command)} is limited to ${maxPayloadBytes} bytes in one request (this one has ${length})`;
}

function broken(error: NbdError, sentence: string): BrokenRule {
  return { error, sentence };
}

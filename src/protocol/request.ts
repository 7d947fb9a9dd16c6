import { Command, CommandFlag, NbdError } from './constants.js';
import { fieldOffset, requestLayout } from './layouts.js';

/** Byte offsets of the fields of a request, for the loop that reads them in place. */
export const REQUEST_BYTES = requestLayout.span;
export const REQUEST_FLAGS_AT = fieldOffset(requestLayout, 'flags');
export const REQUEST_COMMAND_AT = fieldOffset(requestLayout, 'command');
export const REQUEST_COOKIE_AT = fieldOffset(requestLayout, 'cookie');
export const REQUEST_OFFSET_AT = fieldOffset(requestLayout, 'offset');
export const REQUEST_LENGTH_AT = fieldOffset(requestLayout, 'length');

/**
 * The unsigned 64-bit number at `at`. A number above 2^53 is not exact, but it is still larger than every disk, so the
 * range check refuses it.
 */
export function readUInt64(buffer: Buffer, at: number): number {
  return buffer.readUInt32BE(at) * 2 ** 32 + buffer.readUInt32BE(at + 4);
}

/** The part of what was agreed for a connection that decides which requests are valid. */
export interface RequestRules {
  readonly readOnly: boolean;
  readonly structuredReplies: boolean;
  /** Offsets and lengths must be multiples of this power of two: 1 for a client that did not ask for block sizes. */
  readonly blockBytes: number;
  readonly hasContexts: boolean;
  readonly maxPayloadBytes: number;
}

const allowedFlags: Record<number, number> = {
  [Command.READ]: CommandFlag.FUA | CommandFlag.DF,
  [Command.WRITE]: CommandFlag.FUA,
  [Command.FLUSH]: CommandFlag.FUA,
  [Command.TRIM]: CommandFlag.FUA,
  [Command.CACHE]: CommandFlag.FUA,
  [Command.WRITE_ZEROES]: CommandFlag.FUA | CommandFlag.NO_HOLE | CommandFlag.FAST_ZERO,
  [Command.BLOCK_STATUS]: CommandFlag.FUA | CommandFlag.REQ_ONE,
};

/**
 * Checks a request before anything acts on it. Returns the error to answer, or NONE. The code that executes the request
 * relies on this and does not check again.
 */
export function validateRequest(
  command: number,
  flags: number,
  offset: number,
  length: number,
  sizeBytes: number,
  rules: RequestRules,
): NbdError {
  // DISC has no reply, so there is no way to refuse it.
  if (command === Command.DISC) return NbdError.NONE;
  const allowed = allowedFlags[command];
  if (allowed === undefined || (flags & ~allowed) !== 0) return NbdError.EINVAL;
  if (command === Command.FLUSH) return NbdError.NONE;

  const changes = command === Command.WRITE || command === Command.WRITE_ZEROES;
  if (rules.readOnly && (changes || command === Command.TRIM)) return NbdError.EPERM;
  if (offset > sizeBytes || length > sizeBytes - offset) return changes ? NbdError.ENOSPC : NbdError.EINVAL;
  // `|` keeps only the low 32 bits of both numbers, which is enough to check alignment.
  if (((offset | length) & (rules.blockBytes - 1)) !== 0) return NbdError.EINVAL;

  if (command === Command.READ) {
    if (length > rules.maxPayloadBytes) return NbdError.EOVERFLOW;
    if ((flags & CommandFlag.DF) !== 0 && !rules.structuredReplies) return NbdError.EINVAL;
  } else if (command === Command.WRITE) {
    if (length > rules.maxPayloadBytes) return NbdError.EINVAL;
  } else if (command === Command.BLOCK_STATUS) {
    if (!rules.hasContexts || length === 0) return NbdError.EINVAL;
  }
  return NbdError.NONE;
}

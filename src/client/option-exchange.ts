import { KIB, MIB } from '../base/units.js';
import { encodeClientFlags, encodeOption } from '../protocol/client-codec.js';
import { HandshakeFlag, NBD_MAGIC, OPTION_MAGIC, OPTION_REPLY_MAGIC, OptionReply } from '../protocol/constants.js';
import { greetingLayout, optionReplyLayout } from '../protocol/layouts.js';
import { type Dialogue, MAX_WANTED_BYTES } from './dialogue.js';
import { NbdConnectionError, NbdOptionError, NbdProtocolError } from './errors.js';

/** More than two of the longest strings. */
const MAX_OPTION_REPLY_BYTES = MAX_WANTED_BYTES;
/** The limit for all replies to one option: tens of thousands of exports or contexts. */
const MAX_OPTION_ANSWER_BYTES = 16 * MIB;
/** What an empty reply counts towards that limit. */
const REPLY_COST_BYTES = 1 * KIB;
const FIRST_OPTION_ERROR = 2 ** 31;

export type Send = (...parts: readonly Buffer[]) => void;

export interface Greeting {
  /** The server supports options other than EXPORT_NAME. */
  readonly fixedNewstyle: boolean;
  /** The reply to EXPORT_NAME has no padding. */
  readonly noZeroes: boolean;
}

/** Receives the greeting of the server and answers it. */
export function* greet(send: Send): Dialogue<Greeting> {
  const { magic, optionMagic, flags } = greetingLayout.decode(yield greetingLayout.span);
  if (magic.toString('latin1') !== NBD_MAGIC) throw new NbdProtocolError('did not greet like an NBD server');
  if (optionMagic.toString('latin1') !== OPTION_MAGIC) {
    throw new NbdConnectionError(
      'the server speaks only the oldstyle NBD handshake',
      'serve the export with the newstyle handshake',
    );
  }
  const known = flags & (HandshakeFlag.FIXED_NEWSTYLE | HandshakeFlag.NO_ZEROES);
  send(encodeClientFlags(known));
  return {
    fixedNewstyle: (known & HandshakeFlag.FIXED_NEWSTYLE) !== 0,
    noZeroes: (known & HandshakeFlag.NO_ZEROES) !== 0,
  };
}

interface OptionReplyMessage {
  readonly type: number;
  readonly data: Buffer;
}

export interface OptionAnswer {
  /** The replies before the last one. */
  readonly replies: readonly OptionReplyMessage[];
  /** The error of the server; undefined when it acknowledged the option. */
  readonly refusal: NbdOptionError | undefined;
}

/** Sends an option and receives all replies to it. `what` names it for people. */
export function* askOption(send: Send, option: number, what: string, data?: Buffer): Dialogue<OptionAnswer> {
  send(encodeOption(option, data));
  const replies: OptionReplyMessage[] = [];
  let answerBytes = 0;
  for (;;) {
    const reply = yield* takeOptionReply(option);
    if (reply.type === OptionReply.ACK) return { replies, refusal: undefined };
    if (reply.type >= FIRST_OPTION_ERROR) {
      return { replies, refusal: new NbdOptionError(what, reply.type, reply.data.toString()) };
    }
    replies.push(reply);
    answerBytes += reply.data.length + REPLY_COST_BYTES;
    if (answerBytes > MAX_OPTION_ANSWER_BYTES)
      throw new NbdProtocolError(`sent too much in answer to a request for ${what}`);
  }
}

function* takeOptionReply(asked: number): Dialogue<OptionReplyMessage> {
  const { magic, option, type, length } = optionReplyLayout.decode(yield optionReplyLayout.span);
  if (magic !== OPTION_REPLY_MAGIC) throw new NbdProtocolError('sent something that is not an option reply');
  if (option !== asked) throw new NbdProtocolError(`answered option ${option} when asked for ${asked}`);
  if (length > MAX_OPTION_REPLY_BYTES) throw new NbdProtocolError(`sent an option reply of ${length} bytes`);
  // A copy, because the view is only valid until the next message.
  return { type, data: Buffer.from(yield length) };
}

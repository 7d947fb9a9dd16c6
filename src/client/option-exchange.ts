import { KIB, MIB } from '../base/units.js';
import { encodeClientFlags, encodeOption } from '../protocol/client-codec.js';
import { HandshakeFlag, NBD_MAGIC, OPTION_MAGIC, OPTION_REPLY_MAGIC, OptionReply } from '../protocol/constants.js';
import { greetingLayout, optionReplyLayout } from '../protocol/layouts.js';
import { type Dialogue, MAX_WANTED_BYTES } from './dialogue.js';
import { NbdConnectionError, NbdOptionError, NbdProtocolError } from './errors.js';

/** Two of the longest strings there are, and then some. */
const MAX_OPTION_REPLY_BYTES = MAX_WANTED_BYTES;
/** All replies to one option: tens of thousands of exports or contexts. */
const MAX_OPTION_ANSWER_BYTES = 16 * MIB;
/** What a reply costs here even when it carries nothing. */
const REPLY_COST_BYTES = 1 * KIB;
const FIRST_OPTION_ERROR = 2 ** 31;

export type Send = (...parts: readonly Buffer[]) => void;

export interface Greeting {
  /** Options can be asked for; without it only EXPORT_NAME can. */
  readonly fixedNewstyle: boolean;
  /** The answer to EXPORT_NAME has no padding. */
  readonly noZeroes: boolean;
}

/** Takes the server's first bytes and answers them. */
export function* greet(send: Send): Dialogue<Greeting> {
  const { magic, optionMagic, flags } = greetingLayout.decode(yield greetingLayout.span);
  if (magic.toString('latin1') !== NBD_MAGIC) throw new NbdProtocolError('greeted as no NBD server does');
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
  /** What came before the last reply. */
  readonly replies: readonly OptionReplyMessage[];
  /** Undefined when the server acknowledged the option. */
  readonly refusal: NbdOptionError | undefined;
}

/** Sends an option and takes all replies to it. `what` names it for people. */
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
    if (answerBytes > MAX_OPTION_ANSWER_BYTES) throw new NbdProtocolError(`did not come to an end with ${what}`);
  }
}

function* takeOptionReply(asked: number): Dialogue<OptionReplyMessage> {
  const { magic, option, type, length } = optionReplyLayout.decode(yield optionReplyLayout.span);
  if (magic !== OPTION_REPLY_MAGIC) throw new NbdProtocolError('sent something that is no option reply');
  if (option !== asked) throw new NbdProtocolError(`answered option ${option} when asked for ${asked}`);
  if (length > MAX_OPTION_REPLY_BYTES) throw new NbdProtocolError(`sent an option reply of ${length} bytes`);
  // A copy, for the view is gone with the next message.
  return { type, data: Buffer.from(yield length) };
}

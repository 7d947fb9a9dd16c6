import { type NbdError, REPLY_FLAG_DONE, ReplyChunk } from '../protocol/constants.js';
import {
  CHUNK_BYTES,
  type Cookie,
  encodeErrorChunk,
  putChunk,
  putSimpleReply,
  SIMPLE_REPLY_BYTES,
} from '../protocol/reply-codec.js';
import { wireErrorText } from '../protocol/wire-error.js';
import type { ReplyWriter } from './reply-writer.js';

/** Reports success of a request whose reply carries no data. */
export function replyDone(writer: ReplyWriter, structured: boolean, cookie: Buffer, cookieAt: number): void {
  if (structured) {
    const at = writer.reserve(CHUNK_BYTES);
    putChunk(writer.piece, at, REPLY_FLAG_DONE, ReplyChunk.NONE, cookie, cookieAt, 0);
  } else {
    const at = writer.reserve(SIMPLE_REPLY_BYTES);
    putSimpleReply(writer.piece, at, 0, cookie, cookieAt);
  }
}

/** Reports an error. A structured reply also has a message. */
export function replyError(writer: ReplyWriter, structured: boolean, cookie: Cookie, error: NbdError): void {
  if (structured) {
    writer.send(encodeErrorChunk(error, wireErrorText(error), cookie));
  } else {
    const at = writer.reserve(SIMPLE_REPLY_BYTES);
    putSimpleReply(writer.piece, at, error, cookie.buffer, cookie.at);
  }
}

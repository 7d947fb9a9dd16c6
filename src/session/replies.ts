import { type NbdError, REPLY_FLAG_DONE, ReplyChunk } from '../protocol/constants.js';
import {
  CHUNK_BYTES,
  encodeErrorChunk,
  putChunk,
  putSimpleReply,
  SIMPLE_REPLY_BYTES,
} from '../protocol/reply-codec.js';
import type { ReplyForm } from '../protocol/reply-form.js';
import type { Cookie } from '../protocol/request.js';
import type { ReplyWriter } from './reply-writer.js';

/** Replies without data, in the form that the client has agreed to. */
export class Replies {
  readonly structured: boolean;

  constructor(
    readonly writer: ReplyWriter,
    form: ReplyForm,
  ) {
    this.structured = form === 'structured';
  }

  /** Reports success of a request whose reply carries no data. */
  done(cookie: Cookie): void {
    const { writer } = this;
    if (this.structured) {
      const at = writer.reserve(CHUNK_BYTES);
      putChunk(writer.piece, at, REPLY_FLAG_DONE, ReplyChunk.NONE, cookie, 0);
    } else {
      const at = writer.reserve(SIMPLE_REPLY_BYTES);
      putSimpleReply(writer.piece, at, 0, cookie);
    }
  }

  /** Reports an error. Only a structured reply has room for the message. */
  error(cookie: Cookie, error: NbdError, message: string): void {
    const { writer } = this;
    if (this.structured) {
      writer.send(encodeErrorChunk(error, message, cookie));
    } else {
      const at = writer.reserve(SIMPLE_REPLY_BYTES);
      putSimpleReply(writer.piece, at, error, cookie);
    }
  }
}

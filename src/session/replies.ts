import { type ChunkForm, extendedChunks, structuredChunks } from '../protocol/chunk-form.js';
import { type NbdError, REPLY_FLAG_DONE, ReplyChunk } from '../protocol/constants.js';
import { encodeErrorChunk, putSimpleReply, SIMPLE_REPLY_BYTES } from '../protocol/reply-codec.js';
import type { ReplyForm } from '../protocol/reply-form.js';
import type { ReplyTo } from '../protocol/request.js';
import type { ReplyWriter } from './reply-writer.js';

const chunkForms: Readonly<Record<ReplyForm, ChunkForm | undefined>> = {
  simple: undefined,
  structured: structuredChunks,
  extended: extendedChunks,
};

/** The messages of a reply that carries data. */
export type Content = readonly Buffer[];

/** Replies without data, in the form that the client has agreed to. */
export class Replies {
  /** Undefined if replies are simple. */
  readonly chunks: ChunkForm | undefined;

  constructor(
    readonly writer: ReplyWriter,
    form: ReplyForm,
  ) {
    this.chunks = chunkForms[form];
  }

  /** Reports success of a request whose reply carries no data. */
  done(to: ReplyTo): void {
    const { writer, chunks } = this;
    if (chunks) {
      const at = writer.reserve(chunks.headerBytes);
      chunks.putHeader(writer.piece, at, REPLY_FLAG_DONE, ReplyChunk.NONE, to, 0);
    } else {
      const at = writer.reserve(SIMPLE_REPLY_BYTES);
      putSimpleReply(writer.piece, at, 0, to);
    }
  }

  /** Reports an error. A simple reply has no room for the message. */
  error(to: ReplyTo, error: NbdError, message: string): void {
    const { writer, chunks } = this;
    if (chunks) {
      writer.send(encodeErrorChunk(chunks, error, message, to));
    } else {
      const at = writer.reserve(SIMPLE_REPLY_BYTES);
      putSimpleReply(writer.piece, at, error, to);
    }
  }
}

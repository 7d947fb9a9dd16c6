import { MIB } from '../base/units.js';
import type { ExportRegistry } from '../export/registry.js';
import { HandshakeFlag, NBD_MAGIC, OPTION_MAGIC, Option, OptionError } from '../protocol/constants.js';
import { clientFlagsLayout, greetingLayout, optionLayout } from '../protocol/layouts.js';
import { handleAbort } from './options/abort.js';
import { handleExportName } from './options/export-name.js';
import { handleGo, handleInfo } from './options/info.js';
import { handleList } from './options/list.js';
import { handleListMetaContext, handleSetMetaContext } from './options/meta-context.js';
import {
  Negotiation,
  type OptionHandler,
  type OptionOutcome,
  OptionRequest,
  type ServerTerms,
} from './options/option-handler.js';
import { handleStructuredReply } from './options/structured-reply.js';

/** More than any client needs. A client that lists gets as many again for each export in the list. */
const MAX_OPTIONS = 32;
/** Enough for a name and hundreds of the longest queries. Longer data is skipped, not kept. */
const MAX_OPTION_DATA_BYTES = 1 * MIB;
/** Answers to send in one turn of the event loop: about a millisecond of work. */
const ANSWERS_PER_TURN = 128;
/** An option with more data than this ends the connection instead of being skipped. */
const MAX_SKIPPED_BYTES = 32 * MIB;

const OFFERED_FLAGS = HandshakeFlag.FIXED_NEWSTYLE | HandshakeFlag.NO_ZEROES;
const optionMagic = Buffer.from(OPTION_MAGIC);

const handlers = new Map<number, OptionHandler>([
  [Option.LIST, handleList],
  [Option.INFO, handleInfo],
  [Option.GO, handleGo],
  [Option.STRUCTURED_REPLY, handleStructuredReply],
  [Option.LIST_META_CONTEXT, handleListMetaContext],
  [Option.SET_META_CONTEXT, handleSetMetaContext],
]);

/** The first bytes that the server sends. */
export function encodeGreeting(): Buffer {
  const greeting = Buffer.allocUnsafe(greetingLayout.span);
  greetingLayout.encode(
    { magic: Buffer.from(NBD_MAGIC), optionMagic: Buffer.from(OPTION_MAGIC), flags: OFFERED_FLAGS },
    greeting,
  );
  return greeting;
}

/** Sends whole messages. It has no room while the client is too slow to read them. */
export interface HandshakeOutput {
  readonly hasRoom: boolean;
  send(message: Buffer): void;
}

/**
 * The handshake of one connection. It consumes what was received, sends its answers to the output, and has an `outcome`
 * when it is over. Bytes after the last option are left for the transmission phase.
 */
export class Handshake {
  outcome: OptionOutcome;
  /** The least number of bytes in the next message. */
  neededBytes = clientFlagsLayout.span;
  /** The server is stopping: every option but ABORT is refused. */
  shuttingDown = false;
  private readonly negotiation: Negotiation;
  private flagsSeen = false;
  private fixedNewstyle = false;
  private optionsLeft = MAX_OPTIONS;
  /** The remaining messages of a long answer. */
  private answers: Iterator<Buffer> | undefined;
  /** Remaining data of an option that was already answered: it is skipped. */
  private skipBytes = 0;

  constructor(
    private readonly exports: ExportRegistry,
    private readonly output: HandshakeOutput,
    terms: ServerTerms,
  ) {
    this.negotiation = new Negotiation(terms);
  }

  /** True while a long answer is being sent. The next call of `consume` continues it. */
  get answering(): boolean {
    return this.answers !== undefined;
  }

  /** Consumes whole messages from `buffer`, from `start` to `end`. Returns where it stopped. */
  consume(buffer: Buffer, start: number, end: number): number {
    let at = start;
    let answersLeft = ANSWERS_PER_TURN;
    while (this.outcome === undefined && this.output.hasRoom) {
      if (this.answers) {
        if (answersLeft-- === 0) break;
        this.sendNextAnswer(this.answers);
        continue;
      }
      if (this.skipBytes > 0) {
        const skipped = Math.min(this.skipBytes, end - at);
        at += skipped;
        this.skipBytes -= skipped;
      }
      const next = this.step(buffer, at, end);
      if (next === at) break;
      at = next;
    }
    return at;
  }

  private sendNextAnswer(answers: Iterator<Buffer>): void {
    const next = answers.next();
    if (next.done) this.answers = undefined;
    else this.output.send(next.value);
  }

  /** Consumes one message, or nothing while it is incomplete. */
  private step(buffer: Buffer, at: number, end: number): number {
    const headerBytes = this.flagsSeen ? optionLayout.span : clientFlagsLayout.span;
    this.neededBytes = headerBytes;
    if (end - at < headerBytes) return at;
    if (!this.flagsSeen) {
      this.takeClientFlags(clientFlagsLayout.decode(buffer, at).flags);
      return at + headerBytes;
    }
    const { magic, option, length } = optionLayout.decode(buffer, at);
    if (!magic.equals(optionMagic)) return this.close(at, 'sent something that is not an option');
    if (length > MAX_SKIPPED_BYTES) return this.close(at, `sent an option of ${length} bytes`);
    if (this.optionsLeft === 0 && option !== Option.ABORT) return this.refuseOneMore(at, option);
    const handler = this.handlerFor(option, length);
    if (!handler) {
      this.skipBytes = length;
      return at + headerBytes;
    }
    this.neededBytes = headerBytes + length;
    if (end - at < this.neededBytes) return at;
    const dataAt = at + headerBytes;
    this.outcome = handler(this.request(option, buffer.subarray(dataAt, dataAt + length)));
    this.optionsLeft--;
    if (option === Option.LIST) this.optionsLeft += MAX_OPTIONS * this.exports.list().length;
    return dataAt + length;
  }

  private takeClientFlags(flags: number): void {
    this.flagsSeen = true;
    this.fixedNewstyle = (flags & HandshakeFlag.FIXED_NEWSTYLE) !== 0;
    this.negotiation.noZeroes = (flags & HandshakeFlag.NO_ZEROES) !== 0;
    if ((flags & ~OFFERED_FLAGS) !== 0) this.outcome = { closeReason: `sent unknown client flags ${flags}` };
  }

  /** The handler to call once the data has arrived; undefined when the option was answered without its data. */
  private handlerFor(option: number, length: number): OptionHandler | undefined {
    const refuse = (error: OptionError, message: string): undefined => {
      this.request(option, Buffer.alloc(0)).refuse(error, message);
      this.optionsLeft--;
    };
    if (option === Option.EXPORT_NAME) {
      // EXPORT_NAME has no error reply, so the connection ends when the export cannot be served.
      const servable = !this.shuttingDown && length <= MAX_OPTION_DATA_BYTES;
      if (servable) return handleExportName;
      this.outcome = { closeReason: 'asked for an export that cannot be served' };
      return undefined;
    }
    if (!this.fixedNewstyle) {
      return refuse(OptionError.INVALID, 'without fixed newstyle only EXPORT_NAME is valid');
    }
    if (option === Option.ABORT) {
      // The data of ABORT is ignored, so there is no need to wait for it.
      this.outcome = handleAbort(this.request(option, Buffer.alloc(0)));
      return undefined;
    }
    if (this.shuttingDown) return refuse(OptionError.SHUTDOWN, 'the server is stopping');
    const handler = handlers.get(option);
    if (!handler) {
      const what = option === Option.STARTTLS ? 'TLS is not configured' : `option ${option} is not known`;
      return refuse(OptionError.UNSUP, what);
    }
    // The earlier selection is gone even if this option fails ("NBD_OPT_SET_META_CONTEXT").
    if (option === Option.SET_META_CONTEXT) this.negotiation.selection = undefined;
    if (length <= MAX_OPTION_DATA_BYTES) return handler;
    return refuse(OptionError.TOO_BIG, `the option has more than ${MAX_OPTION_DATA_BYTES} bytes of data`);
  }

  /** Tells the client why before the connection ends. EXPORT_NAME has no error reply. */
  private refuseOneMore(at: number, option: number): number {
    if (option !== Option.EXPORT_NAME) {
      const message = `a client may send ${MAX_OPTIONS} options, and ${MAX_OPTIONS} more for each export that it lists`;
      this.request(option, Buffer.alloc(0)).refuse(OptionError.POLICY, message);
    }
    return this.close(at, 'sent too many options');
  }

  private request(option: number, data: Buffer): OptionRequest {
    const send = (bytes: Buffer) => this.output.send(bytes);
    return new OptionRequest(option, data, this.exports, this.negotiation, send, (messages) => {
      this.answers = messages;
    });
  }

  private close(at: number, closeReason: string): number {
    this.outcome = { closeReason };
    return at;
  }
}

import { MIB } from '../base/units.js';
import type { SeenExports } from '../export/seen-exports.js';
import { HandshakeFlag, NBD_MAGIC, OPTION_MAGIC, Option, OptionError } from '../protocol/constants.js';
import { clientFlagsLayout, greetingLayout } from '../protocol/layouts.js';
import { decodeOptionHeader, OPTION_HEADER_BYTES } from '../protocol/option-codec.js';
import {
  type HandshakeTerms,
  Negotiation,
  type OptionHost,
  type OptionKind,
  type OptionOutcome,
  type OptionRefusal,
  OptionRequest,
} from './options/option-handler.js';
import { optionKind } from './options/option-table.js';
import type { ReceiveBuffer } from './receive-buffer.js';

/** More than any client needs. A client that lists gets as many again for each export in the list. */
const MAX_OPTIONS = 32;
/** Enough for a name and hundreds of the longest queries. Longer data is skipped, not kept. */
const MAX_OPTION_DATA_BYTES = 1 * MIB;
/** Answers to send in one turn of the event loop: about a millisecond of work. */
const ANSWERS_PER_TURN = 128;
/** An option with more data than this ends the connection instead of being skipped. */
const MAX_SKIPPED_BYTES = 32 * MIB;

const OFFERED_FLAGS = HandshakeFlag.FIXED_NEWSTYLE | HandshakeFlag.NO_ZEROES;
const noData = Buffer.alloc(0);

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
  /** The server is stopping: every option but ABORT is refused. */
  shuttingDown = false;
  private negotiation!: Negotiation;
  private host!: OptionHost;
  private exports!: SeenExports;
  private output!: HandshakeOutput;
  private flagsSeen = false;
  private fixedNewstyle = false;
  private optionsLeft = MAX_OPTIONS;
  /** The remaining messages of a long answer. */
  private answers: Iterator<Buffer> | undefined;

  constructor(
    exports: SeenExports,
    output: HandshakeOutput,
    terms: HandshakeTerms,
    /** Called when the client could not use an export that it asked for. */
    private readonly missed: OptionHost['missed'] = () => {},
  ) {
    this.begin(exports, output, new Negotiation(exports, terms, false));
  }

  /**
   * TLS has begun: from now on the answers go to this output, and the client sees these exports. What was agreed in the
   * clear is forgotten, but the client may not send more options than without TLS.
   */
  secured(exports: SeenExports, output: HandshakeOutput): void {
    const { terms, noZeroes } = this.negotiation;
    const negotiation = new Negotiation(exports, terms, true);
    // A client flag, which is not sent again.
    negotiation.noZeroes = noZeroes;
    this.outcome = undefined;
    this.begin(exports, output, negotiation);
  }

  /** True while a long answer is being sent. The next call of `consume` continues it. */
  get answering(): boolean {
    return this.answers !== undefined;
  }

  /** Consumes and answers the whole messages that have arrived. */
  consume(input: ReceiveBuffer): void {
    let answersLeft = ANSWERS_PER_TURN;
    while (this.outcome === undefined && this.output.hasRoom) {
      if (this.answers) {
        if (answersLeft-- === 0) return;
        this.sendNextAnswer(this.answers);
      } else {
        const progress = this.flagsSeen ? this.takeOption(input) : this.takeClientFlags(input);
        if (!progress) return;
      }
    }
  }

  private begin(exports: SeenExports, output: HandshakeOutput, negotiation: Negotiation): void {
    this.exports = exports;
    this.output = output;
    this.negotiation = negotiation;
    this.host = {
      exports,
      negotiation,
      missed: this.missed,
      send: (bytes) => output.send(bytes),
      sendAll: (messages) => {
        this.answers = messages;
      },
    };
  }

  private sendNextAnswer(answers: Iterator<Buffer>): void {
    const next = answers.next();
    if (next.done) this.answers = undefined;
    else this.output.send(next.value);
  }

  /** Returns false while they are incomplete. */
  private takeClientFlags(input: ReceiveBuffer): boolean {
    if (!input.has(clientFlagsLayout.span)) return false;
    const { flags } = clientFlagsLayout.decode(input.buffer, input.start);
    input.consume(clientFlagsLayout.span);
    this.flagsSeen = true;
    this.fixedNewstyle = (flags & HandshakeFlag.FIXED_NEWSTYLE) !== 0;
    this.negotiation.noZeroes = (flags & HandshakeFlag.NO_ZEROES) !== 0;
    if ((flags & ~OFFERED_FLAGS) !== 0) this.outcome = { closeReason: `sent unknown client flags ${flags}` };
    else if (!this.fixedNewstyle && this.negotiation.terms.tls === 'required') {
      this.outcome = { closeReason: 'did not use fixed newstyle, without which there is no TLS' };
    }
    return true;
  }

  /** Answers one option. Returns false while it is incomplete. */
  private takeOption(input: ReceiveBuffer): boolean {
    if (!input.has(OPTION_HEADER_BYTES)) return false;
    const header = decodeOptionHeader(input.buffer, input.start);
    if (!header) return this.close('sent something that is not an option');
    const { option, length } = header;
    if (length > MAX_SKIPPED_BYTES) return this.close(`sent an option of ${length} bytes`);
    const kind = optionKind(option);
    if (this.optionsLeft === 0 && !kind.alwaysAnswered) return this.refuseOneMore(option);

    kind.begin?.(this.negotiation);
    const refusal = this.refusalOf(kind, length);
    const messageBytes = OPTION_HEADER_BYTES + length;
    if (refusal || kind.skipsData) {
      const request = new OptionRequest(option, noData, this.host);
      this.outcome = refusal ? request.refuse(refusal) : kind.answer(request);
      input.skip(messageBytes);
      if (this.outcome && 'startTls' in this.outcome) this.acceptTls(request, input);
    } else {
      if (!input.has(messageBytes)) return false;
      const data = input.buffer.subarray(input.start + OPTION_HEADER_BYTES, input.start + messageBytes);
      this.outcome = kind.answer(new OptionRequest(option, data, this.host));
      input.consume(messageBytes);
      if (option === Option.LIST) this.optionsLeft += MAX_OPTIONS * this.exports.list().length;
    }
    this.optionsLeft--;
    return true;
  }

  /** Why an option is refused without a look at its data; undefined when it is not. */
  private refusalOf(kind: OptionKind, length: number): OptionRefusal | undefined {
    if (!this.fixedNewstyle && !kind.withoutFixedNewstyle) {
      return { error: OptionError.INVALID, message: 'without fixed newstyle only EXPORT_NAME is valid' };
    }
    if (this.negotiation.awaitsTls && this.negotiation.terms.tls === 'required' && !kind.withoutTls) {
      this.missed('', 'TLS is required');
      return { error: OptionError.TLS_REQD, message: 'this server requires TLS: send STARTTLS first' };
    }
    if (this.shuttingDown && !kind.alwaysAnswered) {
      return { error: OptionError.SHUTDOWN, message: 'the server is stopping' };
    }
    if (length > MAX_OPTION_DATA_BYTES && !kind.skipsData) {
      return { error: OptionError.TOO_BIG, message: `the option has more than ${MAX_OPTION_DATA_BYTES} bytes of data` };
    }
    return kind.refusal?.(this.negotiation, length);
  }

  /** What came before the answer is not TLS, and may be from somebody between the client and this server. */
  private acceptTls(request: OptionRequest, input: ReceiveBuffer): void {
    if (input.length > 0) this.close('sent data behind STARTTLS before the answer');
    else request.ack();
  }

  /** Tells the client why before the connection ends. */
  private refuseOneMore(option: number): true {
    const message = `a client may send ${MAX_OPTIONS} options, and ${MAX_OPTIONS} more for each export that it lists`;
    new OptionRequest(option, noData, this.host).refuse({ error: OptionError.POLICY, message });
    return this.close('sent too many options');
  }

  private close(closeReason: string): true {
    this.outcome = { closeReason };
    return true;
  }
}

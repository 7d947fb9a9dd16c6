import type { SeenExports } from '../../export/seen-exports.js';
import type { ServedDisk } from '../../export/served-disk.js';
import { Option, OptionError, OptionReply } from '../../protocol/constants.js';
import { encodeOptionReply } from '../../protocol/option-codec.js';
import type { ReplyForm } from '../../protocol/reply-form.js';
import type { TlsMode } from '../../tls/tls-mode.js';
import { type Agreement, type SelectedContext, transmissionFlags } from '../agreement.js';
import type { MissedExport } from '../explain-refusal.js';

/** The most characters of a name to quote in an error message, whose length the protocol limits. */
const MAX_QUOTED_NAME = 200;

interface Selection {
  readonly exportName: string;
  readonly served: ServedDisk;
  readonly contexts: readonly SelectedContext[];
}

/** Settings that apply to every client of a server. */
export interface ServerTerms {
  /** A client may connect more than once. */
  readonly multipleConnections: boolean;
}

/** What holds for one handshake from its start. */
export interface HandshakeTerms extends ServerTerms {
  readonly tls: TlsMode;
}

/** What one handshake has agreed so far. TLS starts a new one, so that nothing said in the clear counts. */
export class Negotiation {
  noZeroes = false;
  replies: ReplyForm = 'simple';
  /** The last selection of contexts, and its export. */
  selection: Selection | undefined;

  constructor(
    private readonly exports: SeenExports,
    readonly terms: HandshakeTerms,
    /** The connection is encrypted. */
    readonly secured: boolean,
  ) {}

  /** The client may do more after STARTTLS. */
  get awaitsTls(): boolean {
    return this.terms.tls !== 'none' && !this.secured;
  }

  /** Whether the client cannot write, because of the disk or because it may not. */
  readOnly(served: ServedDisk): boolean {
    return served.readOnly || !this.exports.may('write', served.guardedAs.exportName);
  }

  /** The transmission flags of an export, given what has been agreed so far. */
  flagsOf(exportName: string, served: ServedDisk): number {
    const { replies } = this;
    const { multipleConnections } = this.terms;
    const hasContexts = this.contextsFor(exportName, served).length > 0;
    return transmissionFlags(served, { multipleConnections, replies, hasContexts, readOnly: this.readOnly(served) });
  }

  /**
   * The selected contexts if they were selected for that export, otherwise none ("Metadata querying"). An export that
   * has replaced one of the same name has other contexts.
   */
  contextsFor(exportName: string, served: ServedDisk): readonly SelectedContext[] {
    const { selection } = this;
    return selection?.exportName === exportName && selection.served === served ? selection.contexts : [];
  }
}

/** What all options of one handshake share. */
export interface OptionHost {
  readonly exports: SeenExports;
  readonly negotiation: Negotiation;
  /** Sends bytes to the client unchanged. */
  send(bytes: Buffer): void;
  /** The client could not use an export that it asked for. */
  missed(exportName: string, missed: MissedExport): void;
  /** Sends many messages, a few at a time. The next option has to wait for the last of them. */
  sendAll(messages: Iterator<Buffer>): void;
}

/** What follows an option: transmission, the end of the connection, TLS, or (undefined) the next option. */
export type OptionOutcome =
  | { readonly agreement: Agreement<ServedDisk> }
  | { readonly closeReason: string }
  | { readonly startTls: true }
  | undefined;

/** Why an option is refused. */
export interface OptionRefusal {
  readonly error: OptionError;
  /** For people; clients show it. */
  readonly message: string;
}

/** An option that the client sent, and the means to answer it. */
export class OptionRequest {
  constructor(
    readonly option: number,
    readonly data: Buffer,
    private readonly host: OptionHost,
  ) {}

  get exports(): SeenExports {
    return this.host.exports;
  }

  get negotiation(): Negotiation {
    return this.host.negotiation;
  }

  send(bytes: Buffer): void {
    this.host.send(bytes);
  }

  reply(type: number, data?: Buffer): void {
    this.send(encodeOptionReply(this.option, type, data));
  }

  /** One reply for each of `data`, then the ACK. */
  replyEach(type: number, data: Iterable<Buffer>): void {
    this.host.sendAll(this.encodeEach(type, data));
  }

  ack(): undefined {
    this.reply(OptionReply.ACK);
  }

  /** EXPORT_NAME has no error reply, so the connection ends when it is refused. */
  refuse({ error, message }: OptionRefusal): OptionOutcome {
    if (this.option === Option.EXPORT_NAME) return { closeReason: `EXPORT_NAME was refused: ${message}` };
    this.reply(error, Buffer.from(message));
    return undefined;
  }

  /** Before TLS, INFO and GO say of every export that is not there that it may be there with TLS. */
  refuseUnknownExport(exportName: string): OptionOutcome {
    this.noteMiss(exportName, 'unseen');
    const quoted = shortened(exportName);
    const { option, negotiation } = this;
    if (negotiation.awaitsTls && (option === Option.INFO || option === Option.GO)) {
      const message = `there is no export "${quoted}" for clients without TLS`;
      return this.refuse({ error: OptionError.TLS_REQD, message });
    }
    return this.refuse({ error: OptionError.UNKNOWN, message: `there is no export "${quoted}"` });
  }

  /** The client may know that the export exists, but not what is on it. */
  refuseUnreadable(exportName: string): OptionOutcome {
    this.noteMiss(exportName, 'unreadable');
    const message = `${shortened(this.exports.who)} may not read "${shortened(exportName)}"`;
    if (!this.negotiation.awaitsTls) return this.refuse({ error: OptionError.POLICY, message });
    return this.refuse({ error: OptionError.TLS_REQD, message: `${message} without TLS` });
  }

  /** To ask about an export is no offence. */
  private noteMiss(exportName: string, missed: MissedExport): void {
    if (this.option !== Option.GO && this.option !== Option.EXPORT_NAME) return;
    this.host.missed(shortened(exportName), this.negotiation.awaitsTls ? 'in the clear' : missed);
  }

  private *encodeEach(type: number, data: Iterable<Buffer>): Generator<Buffer> {
    for (const one of data) yield encodeOptionReply(this.option, type, one);
    yield encodeOptionReply(this.option, OptionReply.ACK);
  }
}

function shortened(name: string): string {
  return name.length > MAX_QUOTED_NAME ? `${name.slice(0, MAX_QUOTED_NAME)}…` : name;
}

/** How one kind of option is answered. */
export interface OptionKind {
  readonly answer: (request: OptionRequest) => OptionOutcome;
  /** A client that did not agree on fixed newstyle may send it. */
  readonly withoutFixedNewstyle?: true;
  /** It is answered while the server stops, and when the client may send no more options. */
  readonly alwaysAnswered?: true;
  /** It is answered before its data arrives, which is skipped. */
  readonly skipsData?: true;
  /** It is answered although TLS is required and has not begun. */
  readonly withoutTls?: true;
  /** Why it is refused, whatever its data. `length` is that of the data. */
  readonly refusal?: (negotiation: Negotiation, length: number) => OptionRefusal | undefined;
  /** What it does even if it is refused. */
  readonly begin?: (negotiation: Negotiation) => void;
}
